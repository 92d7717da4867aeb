import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { sealed } from '../../src/demo/child.ts'

export type Role = 'checkout' | 'charger' | 'relay'

interface Post {
  readonly role: Role
  readonly title: string
  readonly brief: object
  process: ChildProcess
  held: number
  crashes: number
  done: boolean
}

export interface CrewOptions {
  readonly url: string
  /** Where processes leave compiled modules for those after them. */
  readonly cache: string
}

const PATIENCE_MS = 5_000
const CRASHES = 5
const WORDS = 2_000

/** The processes of the shop: each at its post, replaced at once when it is killed. None outlives this process. */
export class Crew {
  readonly #options: CrewOptions
  readonly #posts: Post[] = []
  #dismissed = false
  /** What a process said that nobody killed and that ended badly, once too often. */
  failure: Error | undefined

  constructor(options: CrewOptions) {
    this.#options = options
  }

  hire(role: Role, title: string, brief: object = {}): void {
    const post = { role, title, brief, held: 0, crashes: 0, done: false } as unknown as Post
    this.#posts.push(post)
    this.#fill(post)
  }

  pids(role: Role): number[] {
    return this.#posts.filter((post) => post.role === role && alive(post.process)).map(({ process }) => process.pid!)
  }

  done(role: Role): boolean {
    return this.#posts.every((post) => post.role !== role || post.done)
  }

  /** SIGKILL, and back when the process is gone; false when there is none of this number. */
  async kill(pid: number): Promise<boolean> {
    const post = this.#posts.find(({ process }) => process.pid === pid && alive(process))
    if (!post) return false
    const gone = once(post.process, 'exit')
    post.process.kill('SIGKILL')
    await gone
    return true
  }

  /** Everybody finishes what is in hand; SIGKILL for who takes too long. */
  async dismiss(): Promise<void> {
    await this.#endAll('SIGTERM', PATIENCE_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#endAll('SIGKILL', 0)
  }

  async #endAll(signal: NodeJS.Signals, patienceMs: number): Promise<void> {
    this.#dismissed = true
    const living = this.#posts.map(({ process }) => process).filter(alive)
    const gone = living.map((process) => once(process, 'exit'))
    for (const process of living) process.kill(signal)
    const impatience = setTimeout(() => living.map((process) => process.kill('SIGKILL')), patienceMs)
    await Promise.all(gone)
    clearTimeout(impatience)
  }

  #fill(post: Post): void {
    post.held += 1
    const { url, cache } = this.#options
    const name = `${post.title}#${post.held}`
    post.process = fork(fileURLToPath(new URL(`${post.role}.ts`, import.meta.url)), {
      env: { NODE_COMPILE_CACHE: cache, ...process.env, ...sealed({ ...post.brief, name, url }) },
      execArgv: [],
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    let words = ''
    post.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-WORDS)
    })
    post.process.once('exit', (code, signal) => this.#vacate(post, code, signal, words.trim()))
  }

  #vacate(post: Post, code: number | null, signal: string | null, words: string): void {
    if (this.#dismissed) return
    if (code === 0) post.done = true
    else if (signal === 'SIGKILL' || post.crashes < CRASHES) {
      if (signal !== 'SIGKILL') post.crashes += 1
      this.#fill(post)
    } else
      this.failure = new Error(`Cannot keep process "${post.title}" running: it ended with ${code ?? signal}: ${words}`)
  }
}

function alive({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null
}
