/* hostile-library.so: shows that it ran by ending the process that loaded it. */
#include <unistd.h>

__attribute__((constructor)) static void run(void)
{
	_exit(0);
}
