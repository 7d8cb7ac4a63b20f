/* Loads an LV2 plug-in, makes it, runs it, ends it and unloads it: lv2_cycle FILE TIMES [BLOCKS]. Prints the threads, files and resident
 * KiB that were added after a tenth of the rounds, the slowest making in milliseconds, whether the file is still mapped, and, with
 * guard.c preloaded, what was counted in run(). With BLOCKS, each run() of 512 frames stands between two marks (getppid). */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <lv2/core/lv2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern void guard_enter(void) __attribute__((weak));
extern void guard_leave(void) __attribute__((weak));
extern unsigned long guard_count(void) __attribute__((weak));

static int entries(const char *folder) {
    int count = 0;
    DIR *open = opendir(folder);
    while (open && readdir(open)) ++count;
    if (open) closedir(open);
    return count;
}

static long resident(void) {
    long kib = -1;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
    if (status) fclose(status);
    return kib;
}

static int mapped(const char *file) {
    int found = 0;
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) found |= strstr(line, file) != NULL;
    if (maps) fclose(maps);
    return found;
}

static double round_trip(const char *file, int blocks) {
    static float audio[4][512], controls[5];
    struct timespec begun, made;
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library) exit(3);
    const LV2_Descriptor *(*descriptor)(uint32_t);
    *(void **)&descriptor = dlsym(library, "lv2_descriptor");
    if (!descriptor) exit(4);
    const LV2_Descriptor *plugin = descriptor(0);
    const LV2_Feature *const features[] = {NULL};
    clock_gettime(CLOCK_MONOTONIC, &begun);
    LV2_Handle instance = plugin->instantiate(plugin, 48000.0, "/", features);
    clock_gettime(CLOCK_MONOTONIC, &made);
    if (!instance) exit(5);
    for (uint32_t port = 0; port < 4; ++port) plugin->connect_port(instance, port, audio[port]);
    for (uint32_t port = 4; port < 9; ++port) plugin->connect_port(instance, port, &controls[port - 4]);
    plugin->activate(instance);
    for (int block = 0; block < (blocks ? blocks : 1); ++block) {
        if (blocks) getppid();
        if (guard_enter) guard_enter();
        plugin->run(instance, 512);
        if (getenv("CT_ALLOCATES")) { /* so that a guard that sees nothing is seen */
            void *volatile memory = malloc(1 + (size_t)block);
            free(memory);
        }
        if (guard_leave) guard_leave();
        if (blocks) getppid();
    }
    if (plugin->deactivate) plugin->deactivate(instance);
    plugin->cleanup(instance);
    dlclose(library);
    return (double)(made.tv_sec - begun.tv_sec) * 1e3 + (double)(made.tv_nsec - begun.tv_nsec) / 1e6;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    const int blocks = argc > 3 ? atoi(argv[3]) : 0;
    const int times = atoi(argv[2]);
    double slowest = 0.0;
    int threads = 0, files = 0;
    long kib = 0;
    for (int i = 0; i < times; ++i) {
        const double took = round_trip(argv[1], blocks);
        if (took > slowest) slowest = took;
        if (i == times / 10) {
            threads = entries("/proc/self/task");
            files = entries("/proc/self/fd");
            kib = resident();
        }
    }
    printf("{\"threads\":%d,\"files\":%d,\"kib\":%ld,\"slowest_ms\":%.3f,\"mapped\":%s,\"guarded\":%ld}\n",
           entries("/proc/self/task") - threads, entries("/proc/self/fd") - files, resident() - kib, slowest,
           mapped(argv[1]) ? "true" : "false", guard_count ? (long)guard_count() : -1L);
    return 0;
}
