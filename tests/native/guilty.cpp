// Races with itself and reads what it has freed, so that a sanitizer that sees nothing is seen: ../tests/sanitizers.rs.
#include <claviger.h>

#include <cstdio>
#include <thread>

int main() {
    long shared = static_cast<long>(clv_abi_version());
    std::thread other([&shared] { ++shared; });
    ++shared;
    other.join();
    long *const freed = new long(shared);
    delete freed;
    std::printf("%ld\n", *const_cast<volatile long *>(freed));
    return 0;
}
