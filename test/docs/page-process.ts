import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Program, Ran } from './page-runner.ts'

/** The process of a page: it runs the page's programs one after the other. */
export class PageProcess {
  readonly #child: ChildProcess
  readonly #exit: Promise<void>
  #last: Promise<unknown> = Promise.resolve()
  #told = ''

  constructor(env: NodeJS.ProcessEnv) {
    this.#child = fork(join(import.meta.dirname, 'page-runner.ts'), { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    this.#child.stderr!.on('data', (data) => (this.#told += data))
    this.#exit = once(this.#child, 'exit').then(() => {})
  }

  /** What came of a program; that the process died is an answer, too. */
  run(program: Program): Promise<Ran> {
    const turn = this.#last.then(() => this.#run(program))
    this.#last = turn
    return turn
  }

  /** Resolves when it has ended by itself, or had to be killed, and says how: '' for well. */
  async end(patienceMs: number): Promise<string> {
    await this.#last
    if (this.#child.connected) this.#child.disconnect()
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), patienceMs)
    await this.#exit
    clearTimeout(patience)
    return this.#child.exitCode === 0 ? '' : this.#death()
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async #run(program: Program): Promise<Ran> {
    const over = new AbortController()
    const answer = once(this.#child, 'message', { signal: over.signal }).then(([ran]) => ran as Ran)
    const death = this.#exit.then(() => ({ failure: this.#death(), stdout: '', stderr: this.#told }))
    answer.catch(() => {})
    if (this.#child.connected) this.#child.send(program)
    const ran = await Promise.race([answer, death])
    over.abort()
    return ran
  }

  #death(): string {
    return `its process ended with ${this.#child.signalCode ?? this.#child.exitCode}: ${this.#told}`
  }
}
