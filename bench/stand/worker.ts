import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { WorkOptions } from './peer.ts'
import type { Answer, Asked, WorkerTask } from './worker-process.ts'

const MAIN = fileURLToPath(new URL('./worker-process.ts', import.meta.url))
const START_MS = 60_000
const STOP_MS = 15_000

export interface Usage {
  readonly rssMb: number
  /** Milliseconds of this process since it began. */
  readonly cpuMs: number
  readonly handled: number
}

/** A peer's consumer in a process of its own, which ends with this one. */
export class Worker {
  readonly ready: Promise<void>
  readonly #process: ChildProcess
  readonly #listeners = new Set<(answer: Answer) => void>()

  constructor(url: string, peer: string, task: WorkerTask, options: WorkOptions) {
    this.#process = fork(MAIN, [JSON.stringify({ url, peer, task, options })], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
    })
    this.#process.on('message', (answer) => {
      for (const listener of [...this.#listeners]) listener(answer as Answer)
    })
    this.ready = this.#said('ready', START_MS).then(() => {})
  }

  get pid(): number {
    return this.#process.pid!
  }

  /** Calls back for every message that a handler was given, with the moment of it by the machine's monotonic clock. */
  onHandled(callback: (orderId: string, at: number) => void): void {
    this.#listeners.add((answer) => {
      if (answer.word === 'handled') for (const [orderId, at] of answer.orders) callback(orderId, at)
    })
  }

  async usage(): Promise<Usage> {
    const answer = this.#said('usage', START_MS)
    this.#process.send('usage' satisfies Asked)
    return await answer
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.disconnect()
    const impatience = setTimeout(() => this.kill(), STOP_MS)
    await ended
    clearTimeout(impatience)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }

  #said<W extends Answer['word']>(word: W, timeoutMs: number): Promise<Extract<Answer, { word: W }>> {
    return new Promise((resolve, reject) => {
      const over = (error?: Error) => {
        clearTimeout(timer)
        this.#listeners.delete(listener)
        this.#process.off('exit', died)
        if (error) reject(error)
      }
      const timer = setTimeout(() => over(new Error(`Cannot go on: no "${word}" within ${timeoutMs} ms`)), timeoutMs)
      const died = (code: number | null) => over(new Error(`Cannot go on: a process ended with ${code}`))
      const listener = (answer: Answer) => {
        if (answer.word === 'failed') return over(new Error(answer.reason))
        if (answer.word !== word) return
        over()
        resolve(answer as Extract<Answer, { word: W }>)
      }
      this.#process.once('exit', died)
      this.#listeners.add(listener)
    })
  }
}
