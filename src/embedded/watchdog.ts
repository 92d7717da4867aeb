import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'

// Reads one line from a pipe that only our process holds. We die in whatever way: the read ends, and the server goes with us;
// quickly, because a second later a test may look for it. "done" is the ordinary goodbye.
// A dead child that nobody has waited for still answers kill -0: in a container there may be no init to reap it.
const SCRIPT = `
lives() { kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
read -r line
[ "$line" = done ] && exit 0
[ -n "$2" ] && signal=QUIT || signal=INT
kill -$signal "$1" 2>/dev/null
turns=0
while lives "$1"; do
  turns=$((turns + 1))
  [ $turns -eq 12 ] && kill -QUIT "$1" 2>/dev/null
  [ $turns -eq 80 ] && kill -KILL "$1" 2>/dev/null
  [ $turns -gt 100 ] && break
  sleep 0.1
done
[ -n "$2" ] && rm -rf -- "$2"
exit 0
`

/**
 * Ends the server when this process ends without having stopped it, SIGKILL included; files of a temporary directory go too.
 * It has a session of its own, so that a signal to our process group does not take it first.
 */
export class Watchdog {
  readonly #shell: ChildProcess | undefined

  constructor(pid: number, temporary: string | undefined) {
    if (process.platform === 'win32') return
    this.#shell = spawn('sh', ['-c', SCRIPT, 'posthaste-watchdog', String(pid), temporary ?? ''], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    this.#shell.unref()
    this.#shell.on('error', () => {})
    const pipe = this.#shell.stdin as Socket | null
    pipe?.unref()
    pipe?.on('error', () => {})
  }

  dismiss(): void {
    this.#shell?.stdin?.end('done\n')
  }
}
