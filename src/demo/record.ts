import { type FileHandle, open, readFile } from 'node:fs/promises'

/** What a producer knows of a transaction: unknown is a COMMIT that was sent and never answered, or a producer that died. */
export type Knowledge = 'committed' | 'rolledBack' | 'unknown'

/** Written before the transaction begins. */
export interface Intent {
  readonly order: number
  readonly messageId: string
  readonly totalCents: number
}

/** What became of an intent. */
export interface Learnt {
  readonly order: number
  readonly outcome: Knowledge
}

/** A line of the record: an intent, or what was learnt of one. */
type Entry = Intent | Learnt

/**
 * The producers' memory outside of Postgres: what they meant, on disk before the transaction begins, and what they learnt of it,
 * on disk before they go on. One JSON object per line; several processes append to one file.
 */
export class Intents {
  readonly #file: FileHandle
  #lines = ''
  #synced: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  private constructor(file: FileHandle) {
    this.#file = file
  }

  static async appendTo(path: string): Promise<Intents> {
    return new Intents(await open(path, 'a', 0o600))
  }

  intend(intent: Intent): Promise<void> {
    return this.#append(intent)
  }

  learn(learnt: Learnt): Promise<void> {
    return this.#append(learnt)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#synced
    await this.#file.close()
  }

  // Who comes while the disk is busy shares the next fsync with all others who do.
  #append(entry: Entry): Promise<void> {
    this.#lines += `${JSON.stringify(entry)}\n`
    this.#next ??= this.#synced.then(() => this.#sync())
    return this.#next
  }

  #sync(): Promise<void> {
    const lines = this.#lines
    this.#lines = ''
    this.#next = undefined
    this.#synced = this.#file.appendFile(lines).then(() => this.#file.datasync())
    return this.#synced
  }
}

/** Every intent with what is known of it in the end. */
export async function readIntents(path: string): Promise<(Intent & Learnt)[]> {
  const intents = new Map<number, Intent & Learnt>()
  for (const line of (await readFile(path, 'utf8')).split('\n').filter(Boolean)) {
    const entry = JSON.parse(line) as Entry
    const intent = 'outcome' in entry ? intents.get(entry.order) : entry
    if (intent) intents.set(entry.order, { ...intent, outcome: 'outcome' in entry ? entry.outcome : 'unknown' })
  }
  return [...intents.values()]
}
