import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface ChildOptions {
  readonly url: string
  readonly relay: boolean
  /** Another relay is on duty already. */
  readonly standby?: boolean
  /** Consumes every queue of this topology with a handler that does nothing. */
  readonly consume: 'nothing' | 'billing' | 'twenty queues'
  /** Tells when each handler was started. */
  readonly tell?: boolean
}

/** What a child says. Times are milliseconds of the machine's monotonic clock, the same in all processes. */
export type Word =
  | { readonly word: 'started' }
  | { readonly word: 'on duty' }
  | { readonly word: 'handled'; readonly id: string; readonly at: number }
  | { readonly word: 'failed'; readonly reason: string }

const MAIN = fileURLToPath(new URL('./service.ts', import.meta.url))
const START_MS = 30_000

/** A service in a process of its own, which ends with this one. */
export class Child {
  readonly ready: Promise<void>
  readonly #process: ChildProcess
  readonly #listeners = new Set<(word: Word) => void>()

  constructor(options: ChildOptions) {
    this.#process = fork(MAIN, [JSON.stringify(options)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
    })
    this.#process.on('message', (word) => {
      for (const listener of [...this.#listeners]) listener(word as Word)
    })
    this.ready = this.said(options.relay && !options.standby ? 'on duty' : 'started')
  }

  listen(listener: (word: Word) => void): void {
    this.#listeners.add(listener)
  }

  said(awaited: Word['word']): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`Cannot start a process: not "${awaited}" in time`)), START_MS)
      this.#process.once('exit', (code) => reject(new Error(`Cannot go on: a process ended with ${code}`)))
      this.listen((word) => {
        if (word.word === awaited) resolve()
        if (word.word === 'failed') reject(new Error(word.reason))
        if (word.word === awaited || word.word === 'failed') clearTimeout(timer)
      })
    })
  }

  /** Ends in order. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.disconnect()
    const impatience = setTimeout(() => this.kill(), 5_000)
    await ended
    clearTimeout(impatience)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}
