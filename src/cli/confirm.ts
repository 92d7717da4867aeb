import { createInterface } from 'node:readline'
import { BadNews, Interrupted, UsageFailure } from './failure.ts'
import { print } from './output.ts'
import { eraseProgress } from './progress.ts'

/** What is about to be destroyed, and whether that was agreed to beforehand. */
export interface Destruction {
  /** How many there are of it. */
  readonly count: number
  /** What it is, as it stands after the count: `dead letters of queue "billing"`. */
  readonly what: string
  /** What is done to it. @default 'delete' */
  readonly verb?: string
  /** What the question ends with. @default 'for good' */
  readonly how?: string
  readonly yes?: boolean | undefined
  readonly json?: boolean | undefined
}

/**
 * Asks, with the count, before anything is destroyed; returns only when the answer was yes, or --yes was given. Where nobody
 * can be asked (no terminal, or --json) it refuses.
 */
export async function confirm({
  count,
  what,
  verb = 'delete',
  how = 'for good',
  yes,
  json,
}: Destruction): Promise<void> {
  if (yes) return
  const sentence = `${verb} ${count.toLocaleString('en')} ${what}`
  if (json || !process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageFailure(`Cannot ${sentence} without being told twice: add --yes`)
  }
  if (await saysYes(`${sentence.charAt(0).toUpperCase()}${sentence.slice(1)} ${how}? [y/N] `)) return
  print('Nothing was changed')
  throw new BadNews('not confirmed')
}

async function saysYes(question: string): Promise<boolean> {
  eraseProgress()
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  terminal.question(question, resolve)
  terminal.on('SIGINT', () => reject(new Interrupted('nothing was changed'))).on('close', () => resolve(''))
  try {
    return /^y(es)?$/i.test((await promise).trim())
  } finally {
    terminal.close()
  }
}
