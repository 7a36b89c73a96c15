"""The checks of section E of the platform facts: the program against the emulator, over loopback."""
