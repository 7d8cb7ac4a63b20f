/* Is a product licensed on this computer?
 *
 *   cc check.c $(pkg-config --cflags --libs claviger) -o check
 *   ./check com.example.clvprofile com.example.synth 2026-11-22
 *
 * A plug-in compiles the profile in; this example reads it, so that it works for every vendor. */
#include <claviger.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: check PROFILE PRODUCT [RELEASE-DATE]\n");
        return 2;
    }
    if (clv_abi_version() < CLV_ABI_VERSION) {
        fprintf(stderr, "this libclaviger is older than the header\n");
        return 2;
    }

    FILE *file = fopen(argv[1], "rb");
    if (!file) {
        perror(argv[1]);
        return 2;
    }
    char *profile = malloc(128 * 1024);
    size_t length = profile ? fread(profile, 1, 128 * 1024, file) : 0;
    fclose(file);

    clv_vendor *vendor = NULL;
    uint32_t result = clv_vendor_open(profile, length, &vendor);
    free(profile); /* it was copied */
    if (result != CLV_OK) {
        fprintf(stderr, "%s is not a vendor profile\n", argv[1]);
        return 2;
    }

    clv_license *license = NULL;
    result = clv_license_open(vendor, argv[2], argc > 3 ? argv[3] : NULL, &license);
    clv_vendor_close(vendor); /* the license does not need it */
    if (result != CLV_OK) {
        fprintf(stderr, "%s is not a product id, or the date is not one\n", argv[2]);
        return 2;
    }

    uint32_t status = clv_license_status(license);
    char text[512];
    length = sizeof text;
    if (clv_license_text(license, CLV_TEXT_REASON, text, &length) == CLV_OK) {
        printf("%u %s\n", (unsigned)status, text);
    }
    length = sizeof text;
    if (clv_license_text(license, CLV_TEXT_SERIAL, text, &length) == CLV_OK && length > 0) {
        printf("serial %s\n", text);
    }
    int32_t days = clv_license_days_left(license);
    if (days >= 0) {
        printf("%d days left\n", (int)days);
    }
    clv_license_close(license);
    return clv_status_is_licensed(status) ? 0 : 1;
}
