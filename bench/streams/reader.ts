import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface ReaderTask {
  readonly url: string
  readonly groups: readonly string[]
  readonly relay: boolean
  readonly batchSize: number
  readonly concurrency: number
  readonly from: 'earliest' | 'latest'
  /** Groups whose latencies are told. */
  readonly live: readonly string[]
}

export type ReaderAsked = 'usage' | 'begin'

export interface ReaderUsage {
  /** By group. */
  readonly handled: Readonly<Record<string, number>>
  readonly rssMb: number
  /** From publishing to the handler, of what was handled since the beginning that it was told of; null when nothing was. */
  readonly p99Ms: number | null
  readonly measured: number
}

export type ReaderAnswer =
  | { readonly word: 'ready' }
  | ({ readonly word: 'usage' } & ReaderUsage)
  | { readonly word: 'failed'; readonly reason: string }

const MAIN = fileURLToPath(new URL('./reader-process.ts', import.meta.url))

/** Reads a stream in a process of its own, which ends with this one. */
export class Reader implements AsyncDisposable {
  readonly #process: ChildProcess
  readonly #ready: Promise<unknown>

  private constructor(task: ReaderTask) {
    this.#process = fork(MAIN, [JSON.stringify(task)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [] })
    this.#ready = this.#said('ready')
  }

  /** Resolves when it reads. */
  static async start(task: Partial<ReaderTask> & Pick<ReaderTask, 'url' | 'groups'>): Promise<Reader> {
    const reader = new Reader({ relay: false, batchSize: 500, concurrency: 2, live: [], from: 'earliest', ...task })
    await reader.#ready
    return reader
  }

  /** Latencies count from here on. */
  begin(): void {
    this.#process.send('begin' satisfies ReaderAsked)
  }

  async usage(): Promise<ReaderUsage> {
    const answer = this.#said('usage')
    this.#process.send('usage' satisfies ReaderAsked)
    return (await answer) as unknown as ReaderUsage
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = once(this.#process, 'exit')
    this.#process.disconnect()
    const impatience = setTimeout(() => this.#process.kill('SIGKILL'), 8_000)
    await ended
    clearTimeout(impatience)
  }

  #said(word: ReaderAnswer['word']): Promise<ReaderAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<ReaderAnswer>()
    const heard = (answer: ReaderAnswer) => {
      if (answer.word === word) resolve(answer)
      if (answer.word === 'failed') reject(new Error(answer.reason))
    }
    const died = (code: number | null) => reject(new Error(`Cannot go on: a reader ended with ${code}`))
    this.#process.on('message', heard).once('exit', died)
    return promise.finally(() => this.#process.off('message', heard).off('exit', died))
  }
}

export const TEN: readonly string[] = Array.from({ length: 10 }, (_, n) => `group-${n + 1}`)

/** How many a group has handled, over processes. */
export async function handledBy(readers: readonly Reader[], group: string): Promise<number> {
  const usages = await Promise.all(readers.map((reader) => reader.usage()))
  return usages.reduce((sum, { handled }) => sum + (handled[group] ?? 0), 0)
}
