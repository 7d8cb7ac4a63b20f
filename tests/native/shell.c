/* An LV2 plug-in around the LV2 plug-in under test: whatever host loads it, the plug-in meets inside that host's process what few
 * hosts do by themselves. CT_PLUGIN names its file; CT_SCENE says what happens when the host makes an instance:
 *   many N        N instances at once, which run together
 *   beside FILE   another build of it in the same process
 *   cycle N       loaded, made, run, ended and unloaded N times
 *   fork          a child makes an instance and asks; the parent goes on
 *   exec          another program is started before and after, which counts the files that are open in it
 *   stack KIB     an instance is made and asked on a thread with so small a stack
 *   deny          the same on a thread for which the kernel denies every file
 * One line, "ct" and a JSON object, tells what was found and for how long the host's thread was in the plug-in. Afterwards it is
 * the plug-in itself. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <lv2/core/lv2.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PORTS = 9, LICENSE = 7, MOST = 256 };

typedef struct {
    const LV2_Descriptor *plugin;
    LV2_Handle inner[MOST];
    int count;
    double rate;
    float unheard[4][8192], controls[PORTS];
} Shell;

static const LV2_Feature *const no_features[] = {NULL};

static void die(const char *why) {
    printf("ct {\"broken\":\"%s\"}\n", why);
    fflush(stdout);
    _exit(97);
}

static const LV2_Descriptor *load(const char *file, void **library) {
    const LV2_Descriptor *(*descriptor)(uint32_t);
    *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!*library) die("it cannot be loaded");
    *(void **)&descriptor = dlsym(*library, "lv2_descriptor");
    if (!descriptor) die("it is no LV2 plug-in");
    return descriptor(0);
}

static LV2_Handle make(const LV2_Descriptor *plugin, double rate) {
    LV2_Handle instance = plugin->instantiate(plugin, rate, "/", no_features);
    if (!instance) die("no instance");
    return instance;
}

/* Runs an instance for a block, and gives what its license port shows. */
static int ask(const LV2_Descriptor *plugin, LV2_Handle instance) {
    float audio[4][64] = {{0}}, controls[PORTS] = {0};
    for (uint32_t port = 0; port < PORTS; ++port) {
        plugin->connect_port(instance, port, port < 4 ? audio[port] : &controls[port]);
    }
    plugin->activate(instance);
    plugin->run(instance, 64);
    if (plugin->deactivate) plugin->deactivate(instance);
    return (int)controls[LICENSE];
}

static int make_and_ask(const LV2_Descriptor *plugin, double rate) {
    LV2_Handle instance = make(plugin, rate);
    const int status = ask(plugin, instance);
    plugin->cleanup(instance);
    return status;
}

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

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

/* From here on the kernel opens and finds no file for this thread. */
static void deny_files(void) {
    static const int denied[] = {
        SYS_openat, SYS_newfstatat, SYS_statx, SYS_faccessat, SYS_readlinkat,
#ifdef SYS_open
        SYS_open, SYS_stat, SYS_access, SYS_readlink,
#endif
    };
    enum { CALLS = sizeof denied / sizeof *denied };
    struct sock_filter filter[CALLS + 3];
    filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALLS; ++i) {
        filter[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)denied[i], (unsigned char)(CALLS - i), 0);
    }
    filter[CALLS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[CALLS + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES);
    struct sock_fprog program = {CALLS + 3, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) die("no filter");
    if (access("/", F_OK) == 0) die("the filter filters nothing");
}

typedef struct {
    const Shell *shell;
    int denied, status;
} Asked;

static void *ask_elsewhere(void *given) {
    Asked *asked = given;
    if (asked->denied) deny_files();
    asked->status = make_and_ask(asked->shell->plugin, asked->shell->rate);
    return NULL;
}

static int on_a_thread(const Shell *shell, int denied, size_t stack) {
    Asked asked = {shell, denied, -1};
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (stack && pthread_attr_setstacksize(&attributes, stack)) die("no such stack");
    if (pthread_create(&thread, &attributes, ask_elsewhere, &asked)) die("no thread");
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    return asked.status;
}

static void cycle(const char *file, double rate, int times) {
    int threads = 0, files = 0;
    long kib = 0;
    double slowest = 0.0;
    for (int i = 0; i < times; ++i) {
        void *library;
        const double begun = now();
        const LV2_Descriptor *plugin = load(file, &library);
        LV2_Handle instance = make(plugin, rate);
        if (now() - begun > slowest) slowest = now() - begun;
        ask(plugin, instance);
        plugin->cleanup(instance);
        dlclose(library);
        if (i == times / 10) {
            threads = entries("/proc/self/task");
            files = entries("/proc/self/fd");
            kib = resident();
        }
    }
    printf("ct {\"threads\":%d,\"files\":%d,\"kib\":%ld,\"mapped\":%s,\"slowest_ms\":%.3f}\n",
           entries("/proc/self/task") - threads, entries("/proc/self/fd") - files, resident() - kib,
           mapped(file) ? "true" : "false", slowest);
}

/* How many files another program finds open. */
static int inherited(void) {
    int files = -1;
    FILE *list = popen("ls /proc/self/fd | wc -l", "r");
    if (!list || fscanf(list, "%d", &files) != 1) die("no other program");
    pclose(list);
    return files;
}

static LV2_Handle instantiate(const LV2_Descriptor *own, double rate, const char *path, const LV2_Feature *const *features) {
    (void)own, (void)path, (void)features;
    const char *const file = getenv("CT_PLUGIN"), *const scene = getenv("CT_SCENE");
    Shell *shell = calloc(1, sizeof *shell);
    if (!file || !scene || !shell) die("CT_PLUGIN and CT_SCENE are not set");
    const char *const more = strchr(scene, ' ') ? strchr(scene, ' ') + 1 : "";
    void *library;
    shell->rate = rate;
    if (!strncmp(scene, "cycle ", 6)) cycle(file, rate, atoi(more));
    const int before = strcmp(scene, "exec") ? 0 : inherited();
    const int threads = entries("/proc/self/task"), files = entries("/proc/self/fd");
    const double begun = now();
    shell->plugin = load(file, &library);
    shell->count = strncmp(scene, "many ", 5) ? 1 : atoi(more);
    if (shell->count > MOST) die("too many");
    int other = -1, ended = 1;
    /* First, before this copy of the library knows anything. */
    if (!strncmp(scene, "stack ", 6)) other = on_a_thread(shell, 0, (size_t)atoi(more) * 1024);
    if (!strcmp(scene, "deny")) other = on_a_thread(shell, 1, 0);
    for (int i = 0; i < shell->count; ++i) shell->inner[i] = make(shell->plugin, rate);
    if (!strncmp(scene, "beside ", 7)) {
        void *second;
        other = make_and_ask(load(more, &second), rate);
    } else if (!strcmp(scene, "fork")) {
        const pid_t child = fork();
        if (child == 0) _exit(make_and_ask(shell->plugin, rate));
        int status = 0;
        waitpid(child, &status, 0);
        ended = WIFEXITED(status);
        other = WEXITSTATUS(status);
    } else if (!strcmp(scene, "exec")) {
        other = inherited() - before;
    }
    printf("ct {\"took_ms\":%.3f,\"other\":%d,\"ended\":%s,\"threads\":%d,\"files\":%d}\n", now() - begun, other,
           ended ? "true" : "false", entries("/proc/self/task") - threads, entries("/proc/self/fd") - files);
    fflush(stdout);
    return shell;
}

static void connect_port(LV2_Handle handle, uint32_t port, void *data) {
    Shell *shell = handle;
    for (int i = 0; i < shell->count; ++i) {
        /* All hear the same; the first one is heard. */
        void *to = i == 0 || port < 2 ? data : port < 4 ? (void *)shell->unheard[port] : (void *)&shell->controls[port];
        shell->plugin->connect_port(shell->inner[i], port, to);
    }
}

static void start(LV2_Handle handle) {
    Shell *shell = handle;
    for (int i = 0; i < shell->count; ++i) shell->plugin->activate(shell->inner[i]);
}

static void run(LV2_Handle handle, uint32_t frames) {
    Shell *shell = handle;
    for (int i = 0; i < shell->count; ++i) shell->plugin->run(shell->inner[i], frames);
}

static void stop(LV2_Handle handle) {
    Shell *shell = handle;
    for (int i = 0; i < shell->count; ++i) {
        if (shell->plugin->deactivate) shell->plugin->deactivate(shell->inner[i]);
    }
}

static void cleanup(LV2_Handle handle) {
    Shell *shell = handle;
    for (int i = 0; i < shell->count; ++i) shell->plugin->cleanup(shell->inner[i]);
    free(shell);
}

static const void *extension_data(const char *uri) {
    (void)uri;
    return NULL;
}

static const LV2_Descriptor descriptor = {
    "https://example.com/plugins/shell", instantiate, connect_port, start, run, stop, cleanup, extension_data,
};

LV2_SYMBOL_EXPORT const LV2_Descriptor *lv2_descriptor(uint32_t index) { return index == 0 ? &descriptor : NULL; }
