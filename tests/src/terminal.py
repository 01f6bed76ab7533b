"""Runs a program on a terminal of its own and answers its prompts, each once it hides what is typed.
To the answer "kill -TERM" (or another signal) nothing is typed: the program gets the signal.

terminal.py ANSWER… -- PROGRAM ARGUMENT…

Prints what the terminal shows, and whether it is left hiding what is typed, and ends as the program
does.
"""

import fcntl
import os
import pty
import select
import signal
import sys
import termios

end = sys.argv.index("--")
answers, program = sys.argv[1:end], sys.argv[end + 1 :]
# This process keeps the other side too: a terminal that nobody has open forgets its state.
terminal, side = pty.openpty()
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(side, termios.TIOCSCTTY, 0)
    for standard in range(3):
        os.dup2(side, standard)
    os.closerange(3, max(terminal, side) + 1)
    # As a shell starts it, whatever this process was told to ignore.
    for default in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(default, signal.SIG_DFL)
    os.execv(program[0], program)


def hides():
    return not termios.tcgetattr(terminal)[3] & termios.ECHO


shown, answered, ended = b"", 0, None
while True:
    if select.select([terminal], [], [], 0.01)[0]:
        shown += os.read(terminal, 4096)
        continue
    if ended is not None:
        break
    # The program shows what is typed again before it shows the next prompt.
    if hides() and answered < min(len(answers), shown.count(b": ")):
        answer = answers[answered]
        if answer.startswith("kill -"):
            os.kill(pid, signal.Signals["SIG" + answer.removeprefix("kill -")])
        else:
            os.write(terminal, answer.encode() + b"\n")
        answered += 1
    process, status = os.waitpid(pid, os.WNOHANG)
    ended = status if process else None
if hides():
    shown += b"[what is typed stays hidden]\r\n"
sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(ended) % 256)
