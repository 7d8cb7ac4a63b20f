/* Carries bytes between a pipe of the daemon's and its own standard streams, so that a test outside of Wine speaks to the
 * daemon as it would over a Unix socket. Says so with one byte once it is connected. For tests only. */
#include <stdio.h>
#include <windows.h>

static HANDLE pipe;

/* Reads or writes a part; without overlapping, one direction would wait for the other. */
static BOOL part(BOOL out, char *bytes, DWORD length, DWORD *done) {
    OVERLAPPED state = {0};
    BOOL good;
    state.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL);
    good = out ? WriteFile(pipe, bytes, length, NULL, &state) : ReadFile(pipe, bytes, length, NULL, &state);
    if (good || GetLastError() == ERROR_IO_PENDING)
        good = GetOverlappedResult(pipe, &state, done, TRUE);
    CloseHandle(state.hEvent);
    return good;
}

static DWORD WINAPI back(void *unused) {
    HANDLE out = GetStdHandle(STD_OUTPUT_HANDLE);
    char bytes[65536];
    DWORD length, written;
    (void)unused;
    while (part(FALSE, bytes, sizeof bytes, &length) && length > 0)
        if (!WriteFile(out, bytes, length, &written, NULL))
            break;
    ExitProcess(0);
}

int main(int count, char **words) {
    HANDLE in = GetStdHandle(STD_INPUT_HANDLE);
    char bytes[65536];
    DWORD length, written, at;
    if (count != 2)
        return 2;
    do {
        pipe = CreateFileA(words[1], FILE_GENERIC_READ | FILE_WRITE_DATA, 0, NULL, OPEN_EXISTING,
                           FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
    } while (pipe == INVALID_HANDLE_VALUE && GetLastError() == ERROR_PIPE_BUSY && WaitNamedPipeA(words[1], 20000));
    if (pipe == INVALID_HANDLE_VALUE)
        return 1;
    putchar('.');
    fflush(stdout);
    CreateThread(NULL, 0, back, NULL, 0, NULL);
    while (ReadFile(in, bytes, sizeof bytes, &length, NULL) && length > 0)
        for (at = 0; at < length; at += written)
            if (!part(TRUE, bytes + at, length - at, &written))
                return 0;
    return 0;
}
