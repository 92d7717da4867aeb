import { readFileSync } from 'node:fs'
import type pg from 'pg'
import type { Statement } from './plain.ts'

/** What is published: some 60 bytes of JSON, where it has no lines. `orderId` is a message's own. */
export interface Order {
  readonly orderId: string
  readonly cents: number
  readonly country: string
  readonly lines?: readonly Line[] | undefined
}

export interface Line {
  readonly stockCode: string
  readonly description: string
  readonly quantity: number
  readonly cents: number
}

/** Which queues get what is published to a topic. */
export type Routes = Readonly<Record<string, readonly string[]>>

/** A statement beside the message: in the transaction that settles it where the peer has one, else on a connection of its own. */
export type Sql = (statement: Statement, values: readonly unknown[]) => Promise<unknown>

/** Throwing means: again later. */
export type Handle = (order: Order, sql: Sql, queue: string) => Promise<void> | void

export interface Tuning {
  readonly routes: Routes
  /** Whether a consumer that rests is told of new messages, or finds them by itself: what a peer's publishers pay for. */
  readonly wakeUps: boolean
  /** Publishers are told to wake nobody, where they would by default. */
  readonly silent?: boolean
  /** A stream reads what is published as well, where there are streams: ours alone. */
  readonly stream?: boolean
}

export interface WorkOptions extends Tuning {
  readonly queues: readonly string[]
  readonly connections: number
  /** Whether `handle` runs statements. */
  readonly effects: boolean
  /** The peer's handler takes as many messages as it is given, and fails them together; where it can, as that of pg-boss does anyway. */
  readonly batches?: boolean
  /** Whether `handle` may throw. */
  readonly failures?: boolean
}

export interface PublishOptions {
  readonly delayMs?: number
}

export interface Publisher {
  /** In the transaction that is open on the client. */
  publish(client: pg.PoolClient, topic: string, order: Order, options?: PublishOptions): Promise<void>
  publishAll(client: pg.PoolClient, topic: string, orders: readonly Order[]): Promise<void>
  close(): Promise<void>
}

export interface Work {
  /** Leaves what is not begun; resolves when nothing runs any more. */
  stop(): Promise<void>
}

/** What a peer may be unable to do, or not by itself. */
export type Ability =
  /** Publish in the caller's transaction. */
  | 'publish-in-transaction'
  /** Many messages in one call. */
  | 'publish-many'
  | 'consume'
  /** Several queues from one message. */
  | 'fan-out'
  /** Publish without waking anybody. */
  | 'silent'
  | 'wake-up'
  | 'delay'
  | 'retry'

/** What a user would pick instead: one file each under bench/peers/. */
export interface Peer {
  readonly name: string
  readonly version: string
  /** What its settings are, in the words of its own documentation; told in the report. */
  readonly settings: Readonly<Record<string, unknown>>
  /** What becomes of an insert beside a message when a process dies in between. */
  readonly effect: 'exactly once' | 'at least once'
  /** What it cannot do, and why. */
  readonly cannot: Readonly<Partial<Record<Ability, string>>>
  /** Makes what it needs in an empty database. */
  install(url: string, tuning: Tuning): Promise<void>
  publisher(url: string, tuning: Tuning): Promise<Publisher>
  work(url: string, options: WorkOptions, handle: Handle): Promise<Work>
}

export const OURS = 'posthaste'
export const PLAIN = 'plain'
const NAMES = [OURS, PLAIN, 'pg-boss', 'graphile-worker', 'bullmq']

/** Each from its file; the packages they stand for are those of bench/package.json. */
export async function peersOf(): Promise<Peer[]> {
  return await Promise.all(NAMES.map(peerOf))
}

export async function peerOf(name: string): Promise<Peer> {
  const file = new URL(`../peers/${name}.ts`, import.meta.url).href
  return (await import(file)).peer
}

/** Of a package that is installed beside the bench. */
export function versionOf(name: string): string {
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8')).version
}
