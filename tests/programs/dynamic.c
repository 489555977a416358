/* hostile-dynamic: what the image's loader is made to run. `nothing` exits with 0, `stay` waits for a
 * signal; without arguments 1, unless a library that was loaded has ended the process before. */
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc > 1 && argv[1][0] == 's')
		pause();
	return argc > 1 && argv[1][0] == 'n' ? 0 : 1;
}
