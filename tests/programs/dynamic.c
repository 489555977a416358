/* hostile-dynamic: what the image's loader is made to run. `nothing` exits with 0; without
 * arguments 1, unless a library that was loaded has ended the process before. */
int main(int argc, char **argv)
{
	return argc > 1 && argv[1][0] == 'n' ? 0 : 1;
}
