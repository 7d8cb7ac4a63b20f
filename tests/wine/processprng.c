/* What Rust's standard library asks for random numbers on Windows, and Wine 8 lacks: for tests only, beside the programs.
   RtlGenRandom goes by the name SystemFunction036. */
__declspec(dllimport) int __stdcall SystemFunction036(void *buffer, unsigned long length);
__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *buffer, unsigned long long length) {
    return SystemFunction036(buffer, (unsigned long)length);
}
