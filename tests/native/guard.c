/* Loaded into a host beside a plug-in (LD_PRELOAD): counts what an audio thread must not do, while the host says that it is
 * in a plug-in's process(). Every way to memory, to a lock and to a wait that the C library and Rust's standard library use
 * goes through one of these names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static __thread int inside __attribute__((tls_model("initial-exec")));
static __thread unsigned long counted __attribute__((tls_model("initial-exec")));

void guard_enter(void) { inside = 1; }
void guard_leave(void) { inside = 0; }
unsigned long guard_count(void) { return counted; }

static void note(void) {
    if (inside) ++counted;
}

void *malloc(size_t size) { note(); return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { note(); return __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { note(); return __libc_realloc(p, size); }
void free(void *p) { note(); __libc_free(p); }
void *memalign(size_t align, size_t size) { note(); return __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { note(); return __libc_memalign(align, size); }
int posix_memalign(void **out, size_t align, size_t size) {
    note();
    *out = __libc_memalign(align, size);
    return *out ? 0 : ENOMEM;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int pthread_mutex_lock(pthread_mutex_t *m) {
    static __typeof__(&pthread_mutex_lock) next;
    note();
    if (!next) next = NEXT(pthread_mutex_lock);
    return next(m);
}
int pthread_mutex_trylock(pthread_mutex_t *m) {
    static __typeof__(&pthread_mutex_trylock) next;
    note();
    if (!next) next = NEXT(pthread_mutex_trylock);
    return next(m);
}
int pthread_rwlock_rdlock(pthread_rwlock_t *m) {
    static __typeof__(&pthread_rwlock_rdlock) next;
    note();
    if (!next) next = NEXT(pthread_rwlock_rdlock);
    return next(m);
}

/* Rust's locks wait and wake through syscall(SYS_futex). */
long syscall(long number, ...) {
    static long (*next)(long, ...);
    va_list list;
    long a[6];
    note();
    va_start(list, number);
    for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
    va_end(list);
    if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
