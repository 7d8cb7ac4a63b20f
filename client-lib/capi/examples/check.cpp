// The same as check.c with claviger.hpp.
//
//   c++ -std=c++17 check.cpp $(pkg-config --cflags --libs claviger) -o check
//   ./check com.example.clvprofile com.example.synth 2026-11-22
#include <claviger.hpp>

#include <fstream>
#include <iostream>
#include <iterator>

int main(int argc, char **argv) {
    if (argc < 3) {
        std::cerr << "usage: check PROFILE PRODUCT [RELEASE-DATE]\n";
        return 2;
    }
    std::ifstream file(argv[1], std::ios::binary);
    const std::string profile{std::istreambuf_iterator<char>(file), {}};
    const auto vendor = claviger::Vendor::compiled_in(profile);
    if (!vendor) {
        std::cerr << argv[1] << " is not a vendor profile, or this libclaviger is older than the header\n";
        return 2;
    }
    const auto license = vendor.open(argv[2], argc > 3 ? argv[3] : nullptr);
    if (!license) {
        std::cerr << argv[2] << " is not a product id, or the date is not one\n";
        return 2;
    }
    std::cout << static_cast<unsigned>(license.status()) << ' ' << license.reason() << '\n';
    if (const auto serial = license.serial(); !serial.empty()) {
        std::cout << "serial " << serial << '\n';
    }
    if (license.days_left() >= 0) {
        std::cout << license.days_left() << " days left\n";
    }
    return license.licensed() ? 0 : 1;
}
