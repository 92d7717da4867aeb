import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sealed } from './child.ts'
import { DemoFailure } from './failure.ts'

export type Role = 'producer' | 'relay' | 'worker'

/** A post in the shop, held by one process after the other. */
interface Post {
  readonly role: Role
  readonly title: string
  readonly brief: object
  process: ChildProcess
  /** The post and the how-manieth process on it: a name that no process before it had. */
  name: string
  held: number
  crashes: number
  done: boolean
}

export interface StaffOptions {
  readonly url: string
  /** A directory where processes leave compiled modules for those after them: it halves what a replacement costs. */
  readonly cache: string
  readonly onMessage: (title: string, message: unknown) => void
}

const PATIENCE_MS = 5_000
const CRASHES = 5

/** The shop's processes: each at its post, replaced at once when it ends. None outlives this process. */
export class Staff {
  readonly #posts: Post[] = []
  readonly #url: string
  readonly #cache: string
  readonly #onMessage: (title: string, message: unknown) => void
  #dismissed = false
  /** Set when a process that nobody killed ended badly, once too often. */
  failure: DemoFailure | undefined
  /** What processes said that nobody killed and that ended all the same; each was replaced. */
  readonly crashes: string[] = []

  constructor({ url, cache, onMessage }: StaffOptions) {
    this.#url = url
    this.#cache = cache
    this.#onMessage = onMessage
  }

  hire(role: Role, title: string, brief: object = {}): void {
    const post = { role, title, brief, held: 0, crashes: 0, done: false } as unknown as Post
    this.#posts.push(post)
    this.#fill(post)
  }

  /** The names under which the processes of a role are alive now. */
  present(role: Role): string[] {
    return this.#posts.filter((post) => post.role === role && alive(post.process)).map(({ name }) => name)
  }

  tell(role: Role, message: object): void {
    const listening = this.#posts.filter((post) => post.role === role && !post.done && post.process.connected)
    for (const { process } of listening) process.send(message, () => {})
  }

  done(role: Role): boolean {
    return this.#posts.every((post) => post.role !== role || post.done)
  }

  /** SIGKILL, and back when the process is gone. */
  async kill(name: string): Promise<void> {
    const post = this.#posts.find((one) => one.name === name && alive(one.process))
    if (!post) return
    const gone = once(post.process, 'exit')
    post.process.kill('SIGKILL')
    await gone
  }

  /** Everybody finishes what is in hand and goes home; SIGKILL for who takes too long. */
  async dismiss(): Promise<void> {
    this.#dismissed = true
    await this.#endAll('SIGTERM', PATIENCE_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#dismissed = true
    await this.#endAll('SIGKILL', 0)
  }

  async #endAll(signal: NodeJS.Signals, patienceMs: number): Promise<void> {
    const living = this.#posts.map(({ process }) => process).filter(alive)
    const gone = living.map((process) => once(process, 'exit'))
    for (const process of living) process.kill(signal)
    const impatience = setTimeout(() => living.map((process) => process.kill('SIGKILL')), patienceMs)
    await Promise.all(gone)
    clearTimeout(impatience)
  }

  #fill(post: Post): void {
    post.held += 1
    post.name = `${post.title}#${post.held}`
    post.process = start(post.role, sealed({ ...post.brief, name: post.name, url: this.#url }), this.#cache)
    post.process.on('message', (message) => this.#onMessage(post.title, message))
    const lastWords = wordsOf(post.process)
    post.process.once('exit', (code, signal) => this.#vacate(post, code, signal, lastWords()))
  }

  #vacate(post: Post, code: number | null, signal: string | null, lastWords: string): void {
    if (this.#dismissed) return
    if (post.role === 'producer' && code === 0) post.done = true
    else if (signal === 'SIGKILL' && post.role !== 'producer') this.#fill(post)
    else this.#mourn(post, `it ended with ${code ?? signal}${lastWords && `: ${lastWords}`}`)
  }

  #mourn(post: Post, reason: string): void {
    post.crashes += 1
    this.crashes.push(`${post.name}: ${/^.*error:.*$/im.exec(reason)?.[0] ?? reason}`)
    const hopeless = post.role === 'producer' || post.crashes > CRASHES
    if (hopeless) this.failure = new DemoFailure(`Cannot keep process "${post.title}" running: ${reason}`)
    else this.#fill(post)
  }
}

/** Compiles the modules of the processes into the cache, once instead of in each of them. */
export async function warmUp(cache: string): Promise<void> {
  await once(start('warm-up', {}, cache), 'exit')
}

// From source or from dist/, the processes come from where this file is. Each has a session of its own: Ctrl-C in a terminal is
// for us to answer.
function start(name: Role | 'warm-up', env: NodeJS.ProcessEnv, cache: string): ChildProcess {
  const module = new URL(`./${name}${extname(import.meta.url)}`, import.meta.url)
  return fork(fileURLToPath(module), {
    env: { NODE_COMPILE_CACHE: cache, ...process.env, ...env },
    execArgv: [],
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
}

function alive({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null
}

const WORDS = 2_000

function wordsOf(child: ChildProcess): () => string {
  let words = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-WORDS)
  })
  return () => words.trim()
}
