"""The main program in a process that multiprocessing spawned: switch on, then its definitions."""

from barcache.rustybt.launch import run_again_in_child

if __name__ == "__mp_main__":
    run_again_in_child(globals())
