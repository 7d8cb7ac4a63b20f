/* A pipe that somebody else has made: for tests only. Takes the name of the pipe, its rights and owner in SDDL, and whether
 * the name is only held (`held`) or a client is waited for and listened to (`open`). */
#include <stdio.h>
#include <string.h>
#include <windows.h>
/* Behind the one that it needs. */
#include <sddl.h>

int main(int count, char **words) {
    SECURITY_ATTRIBUTES rights = {sizeof rights, NULL, FALSE};
    HANDLE pipe, client;
    char said[4096];
    DWORD length;
    if (count != 4)
        return 2;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorA(words[2], SDDL_REVISION_1,
                                                              &rights.lpSecurityDescriptor, NULL)) {
        printf("no rights: %lu\n", GetLastError());
        return 1;
    }
    pipe = CreateNamedPipeA(words[1], PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE | PIPE_WAIT, PIPE_UNLIMITED_INSTANCES, 4096,
                            4096, 0, &rights);
    if (pipe == INVALID_HANDLE_VALUE) {
        printf("refused: %lu\n", GetLastError());
        return 1;
    }
    if (!strcmp(words[3], "held")) {
        /* Its one client is its own: nobody waits at the door. */
        client = CreateFileA(words[1], GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
        if (client == INVALID_HANDLE_VALUE) {
            printf("no client: %lu\n", GetLastError());
            return 1;
        }
        printf("taken\n");
        fflush(stdout);
        Sleep(INFINITE);
    }
    printf("taken\n");
    fflush(stdout);
    ConnectNamedPipe(pipe, NULL);
    if (ReadFile(pipe, said, sizeof said, &length, NULL))
        printf("heard %lu bytes\n", length);
    else
        printf("heard nothing\n");
    fflush(stdout);
    return 0;
}
