/* A client that opens the pipe it is told of and then hangs: for tests only. */
#include <stdio.h>
#include <windows.h>

int main(int count, char **words) {
    HANDLE pipe;
    if (count != 2)
        return 2;
    pipe = CreateFileA(words[1], FILE_GENERIC_READ | FILE_WRITE_DATA, 0, NULL, OPEN_EXISTING,
                       SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
    if (pipe == INVALID_HANDLE_VALUE) {
        printf("refused: %lu\n", GetLastError());
        return 1;
    }
    printf("held\n");
    fflush(stdout);
    Sleep(INFINITE);
    return 0;
}
