// Payments under fire: checkout → outbox → charge through the effect ledger → ledger entry → receipt, while processes are killed,
// connections are cut, and the provider does what providers do. Then everything is counted, against the provider's own file.
//   npm run demo:payments [-- --payments 2000 --seed 1 --json --keep --inject double|loss]
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { styleText } from 'node:util'
import pg from 'pg'
import { Interruption } from '../../src/demo/interruption.ts'
import { openSite } from '../../src/demo/site.ts'
import { migrate, Posthaste, pgDatabase } from '../../src/index.ts'
import { audit, type Findings } from './audit.ts'
import { Chaos } from './chaos.ts'
import { Crew } from './crew.ts'
import { parseCommandLine, type Settings } from './options.ts'
import { Psp, type RunningProvider, startProvider } from './psp.ts'
import { TABLES, topology } from './shop.ts'

/** What `--json` prints in its last line. The url and the file lead somewhere only with `--keep`. */
export interface PaymentsResult extends Findings {
  /** Processes that were killed. */
  readonly kills: number
  readonly databaseUrl: string
  readonly providerLog: string
}

const MOST_CHARGERS = 3
const TILLS = 2
const LOOK_EVERY_MS = 100
const TELL_EVERY_MS = 2_000
const STUCK_MS = 90_000

/** Shares of the requests that do not go well. */
const SHARES = {
  declined: 0.04,
  'error-before': 0.03,
  'error-after': 0.03,
  'error-kept': 0.01,
  'silent-before': 0.015,
  'silent-after': 0.015,
  'cut-after': 0.03,
  'cut-within': 0.02,
}

const settings = parseCommandLine(process.argv.slice(2))
const say = (line: string) => void (settings.json ? process.stderr : process.stdout).write(`${line}\n`)
using interruption = new Interruption()
process.exitCode = await main(settings).catch(async (error: Error & { code?: string }) => {
  // a Ctrl-C that reached a child first is heard here one turn later
  await pause(10)
  say(interruption.signal.aborted ? 'Interrupted: everything is stopped and removed' : error.message)
  return interruption.exitCode || (error.code === 'DATABASE_UNREACHABLE' ? 3 : 1)
})

async function main({ payments, seed, json, keep, windowMs }: Settings): Promise<number> {
  say(`Posthaste payments  ${payments} payments, seed ${seed}`)
  const directory = mkdtempSync(join(tmpdir(), 'posthaste-payments-'))
  const log = join(directory, 'provider.ndjson')
  writeFileSync(log, '')
  const remove = () => rmSync(directory, { recursive: true, force: true })
  process.once('exit', remove)
  const site = await openSite('posthaste_payments', say)
  let kept = false
  try {
    await using provider = await startProvider({ log, seed, windowMs, delayMs: 2, shares: SHARES })
    const { findings, broken, kills } = await day(site.url, provider, join(directory, 'cache'))
    if (keep) {
      kept = true
      process.off('exit', remove)
      say(`The database stays at       ${site.url}`)
      say(`The provider's file stays   ${log}`)
      say(`Remove both with            ${site.keep()}; rm -rf ${directory}`)
    }
    const result: PaymentsResult = { ...findings, kills, databaseUrl: site.url, providerLog: log }
    if (json) process.stdout.write(`${JSON.stringify(result)}\n`)
    return broken.length === 0 ? 0 : 1
  } finally {
    if (!kept) await site.close()
  }
}

/** One day of the shop, and its account. */
async function day(url: string, provider: RunningProvider, cache: string) {
  const { payments, seed, windowMs } = settings
  const { signal } = interruption
  await migrate({ url })
  const pool = new pg.Pool({ connectionString: url, max: 4, application_name: 'office' })
  pool.on('error', () => {})
  const posthaste = new Posthaste({ database: pgDatabase(pool), topology })
  await using crew = new Crew({ url, cache })
  let [requested, settled] = [0, 0]
  const chaos = new Chaos({ url, payments, seed, crew, requested: () => requested, settled: () => settled })
  try {
    await posthaste.declare()
    await pool.query(TABLES)
    crew.hire('relay', 'relay')
    const chargers = payments < 200 ? 2 : MOST_CHARGERS
    for (let n = 1; n <= chargers; n += 1) crew.hire('charger', `charger-${n}`, { provider: provider.url, windowMs })
    for (let n = 0; n < TILLS; n += 1)
      crew.hire('checkout', `checkout-${n + 1}`, { payments, seed, share: n, shares: TILLS })

    const over = new AbortController()
    const raging = chaos.rage(AbortSignal.any([signal, over.signal])).catch((error) => {
      if (!over.signal.aborted) throw error
    })
    raging.catch(() => {})
    await work()
    over.abort()
    await raging
    await crew.dismiss()
    await inject(pool, provider)
    const { findings, broken } = await audit(pool, posthaste as never, { payments, lines: provider.lines() })
    tell(findings, broken)
    const { charger, relay, checkout } = chaos.kills
    return { findings, broken, kills: charger + relay + checkout }
  } finally {
    await pool.end()
  }

  /** Until every payment has come to an end and every message is done. */
  async function work(): Promise<void> {
    let [movedAt, toldAt, last] = [performance.now(), performance.now(), '']
    for (;;) {
      signal.throwIfAborted()
      if (crew.failure) throw crew.failure
      const left = await look()
      if (left === undefined) return
      const now = performance.now()
      if (left !== last) [last, movedAt] = [left, now]
      if (now - movedAt > STUCK_MS)
        throw new Error(`Cannot finish "payments": nothing has moved for ${STUCK_MS / 1_000} s; ${left}`)
      if (now - toldAt > TELL_EVERY_MS) {
        toldAt = now
        say(`  ${left}; killed ${killed()}`)
      }
      await pause(LOOK_EVERY_MS, undefined, { signal })
    }
  }

  async function look(): Promise<string | undefined> {
    const { rows } = await pool.query(
      `select count(*)::int as requested, (count(*) filter (where state <> 'requested'))::int as settled from shop.payments`,
    )
    requested = rows[0].requested
    settled = rows[0].settled
    const words = `${requested} requested, ${settled} settled`
    if (requested < payments || settled < payments) {
      await secondChance()
      return words
    }
    const { queues } = await posthaste.audit()
    const waiting = queues.reduce((sum, { ready, scheduled, leased }) => sum + ready + scheduled + leased, 0)
    if (waiting === 0 && crew.done('checkout') && (await receipts()) >= payments) return undefined
    await secondChance()
    return `${words}, ${waiting} messages under way`
  }

  async function receipts(): Promise<number> {
    const { rows } = await pool.query('select count(*)::int as n from shop.receipts')
    return rows[0].n
  }

  // What has failed too often goes before a person, who looks and lets it run again.
  async function secondChance(): Promise<void> {
    await posthaste.deadLetters.redrive({}, { by: 'the office' })
  }

  function killed(): string {
    const { charger, relay, checkout, connection, calling } = chaos.kills
    return `${charger} chargers (${calling} with a call under way), ${relay} relays, ${checkout} tills, ${connection} connections`
  }

  function tell(findings: Findings, broken: readonly string[]): void {
    const { charged, declined, inReview, lost, doubleCharges, capturedCents, ledgerCents } = findings
    const lines = provider.lines()
    const requests = lines.filter(({ line }) => line === 'request').length
    say('')
    say(`  payments   ${payments}: ${charged} charged, ${declined} declined, ${inReview} in review`)
    say(`  provider   ${requests} requests, ${lines.length - requests} executions, ${euros(capturedCents)} captured`)
    say(`  ledger     ${euros(ledgerCents)} booked`)
    say(`  killed     ${killed()}`)
    say('')
    for (const words of broken) say(`  ${words}`)
    const verdict = `${lost} lost, ${doubleCharges} charged twice, ${euros(Math.abs(capturedCents - ledgerCents - findings.inReviewCapturedCents))} unaccounted for`
    say(
      styleText(broken.length === 0 ? 'green' : 'red', verdict, {
        stream: settings.json ? process.stderr : process.stdout,
      }),
    )
  }
}

/** Something wrong on purpose, behind the library's back: the account must find it. */
async function inject(pool: pg.Pool, provider: RunningProvider): Promise<void> {
  if (settings.inject === undefined) return
  const { rows } = await pool.query('select payment_id as id, cents from shop.ledger limit 1')
  const { id, cents } = rows[0]
  if (settings.inject === 'loss') await pool.query('delete from shop.ledger where payment_id = $1', [id])
  else await chargeBlindly(new Psp(provider.url), id, cents)
}

// With a key of its own, as a retry would that makes its key anew; the provider may have to be asked more than once.
async function chargeBlindly(psp: Psp, id: string, cents: number): Promise<void> {
  for (let tries = 0; tries < 20; tries += 1) {
    const call = { idempotencyKey: `blind-${tries}`, signal: AbortSignal.timeout(1_000) }
    const done = await psp.capture(id, cents, call).catch(() => undefined)
    if (done) return
  }
  throw new Error('Cannot charge blindly: the provider would not')
}

function euros(cents: number): string {
  return `${(cents / 100).toFixed(2)} €`
}
