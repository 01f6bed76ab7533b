"""Runs a program on a terminal of its own and answers its prompts, each once it hides what is typed.

terminal.py ANSWER… -- PROGRAM ARGUMENT…

Prints what the terminal shows and ends as the program does.
"""

import os
import pty
import select
import sys
import termios

end = sys.argv.index("--")
answers, program = sys.argv[1:end], sys.argv[end + 1 :]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program[0], program)

shown, answered = b"", 0
while True:
    if select.select([terminal], [], [], 0.01)[0]:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the program has closed it
            break
        if not piece:
            break
        shown += piece
    # The program shows what is typed again before it shows the next prompt.
    hidden = not termios.tcgetattr(terminal)[3] & termios.ECHO
    if hidden and answered < min(len(answers), shown.count(b": ")):
        os.write(terminal, answers[answered].encode() + b"\n")
        answered += 1
sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
