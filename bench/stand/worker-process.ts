// A peer's consumer in a process of its own. Started by Worker; ends when the channel to its parent does.
import { clock } from './clock.ts'
import { type Handle, peerOf, type WorkOptions } from './peer.ts'
import { plain } from './plain.ts'

export interface WorkerTask {
  /** What each message costs its handler: one insert, or nothing. */
  readonly effect: boolean
  /** Tells when each handler was started. */
  readonly tell: boolean
  /** Of so many messages one is refused at its first attempt; 0 for none. */
  readonly refuseOneIn: number
}

export type Asked = 'usage'

export type Answer =
  | { readonly word: 'ready' }
  | { readonly word: 'handled'; readonly orders: readonly (readonly [orderId: string, at: number])[] }
  | { readonly word: 'usage'; readonly rssMb: number; readonly cpuMs: number; readonly handled: number }
  | { readonly word: 'failed'; readonly reason: string }

const TELL_EVERY_MS = 3
const insertEffect = plain('effect')('insert_effect')

const { url, peer, task, options } = JSON.parse(process.argv[2]!) as {
  url: string
  peer: string
  task: WorkerTask
  options: WorkOptions
}
const refused = new Set<string>()
let told: [string, number][] = []
let handled = 0

const handle: Handle = async ({ orderId, cents }, sql) => {
  if (task.tell) tell(orderId, clock())
  if (task.refuseOneIn > 0 && Number(orderId) % task.refuseOneIn === 0 && isFirst(orderId))
    throw new Error('again, please')
  if (task.effect) await sql(insertEffect, [orderId, cents])
  handled += 1
}

const work = (await peerOf(peer)).work(url, options, handle)
work.then(
  () => say({ word: 'ready' }),
  (error) => say({ word: 'failed', reason: String(error) }),
)

process.on('message', (asked: Asked) => {
  if (asked !== 'usage') return
  const { user, system } = process.cpuUsage()
  const rssMb = process.memoryUsage.rss() / 2 ** 20
  say({ word: 'usage', rssMb, cpuMs: (user + system) / 1_000, handled })
})
process.on('disconnect', () => void stop())
// A peer may lose its database while it ends.
process.on('unhandledRejection', () => {})

function isFirst(orderId: string): boolean {
  if (refused.delete(orderId)) return false
  refused.add(orderId)
  return true
}

function tell(orderId: string, at: number): void {
  if (told.push([orderId, at]) === 1) setTimeout(tellAll, TELL_EVERY_MS)
}

function tellAll(): void {
  say({ word: 'handled', orders: told })
  told = []
}

function say(answer: Answer): void {
  if (process.connected) process.send!(answer)
}

async function stop(): Promise<void> {
  setTimeout(() => process.exit(1), 8_000).unref()
  await work.then((running) => running.stop()).catch(() => {})
  process.exit(0)
}
