import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, inject, test } from 'vitest'
import type { PaymentsResult } from '../../examples/payments/main.ts'
import { ROOT } from '../support/process.ts'
import { databaseUrl, run } from '../support/server.ts'
import { until } from '../support/until.ts'

const LONG = 120_000

describe('payments under fire', () => {
  test.concurrent('are charged once, booked once and receipted once, and anybody can count it again', {
    timeout: LONG,
  }, async ({ onTestFinished }) => {
    const { code, result, stderr } = await payments('--payments', '40', '--seed', '3', '--keep')
    expect(code, stderr).toBe(0)
    onTestFinished(() => remove(result))
    expect(result).toEqual(SHAPE)
    const { charged, declined, inReview, lost, doubleCharges, kills } = result
    expect({ lost, doubleCharges }).toEqual({ lost: 0, doubleCharges: 0 })
    expect(charged + declined + inReview).toBe(40)
    expect(result.capturedCents).toBe(result.ledgerCents + result.inReviewCapturedCents)
    expect(kills).toBeGreaterThanOrEqual(3)

    const { rows } = await run(result.databaseUrl, 'select payment_id as id, cents from shop.ledger order by 1')
    const executed = readFileSync(result.providerLog, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter(({ line }) => line === 'execution')
      .map(({ reference, cents }) => ({ id: reference, cents }))
    const byId = (one: { id: string }, other: { id: string }) => (one.id < other.id ? -1 : 1)
    expect(executed.toSorted(byId)).toEqual(rows.toSorted(byId))
  })

  test.concurrent.each([
    ['double', { lost: 0, doubleCharges: 1 }],
    ['loss', { lost: 1, doubleCharges: 0 }],
  ])('fail when a %s is injected, and leave nothing behind', { timeout: LONG }, async (fault, expected) => {
    const { code, result, stderr } = await payments('--payments', '20', '--inject', fault)
    expect(code, stderr).toBe(1)
    expect(result).toMatchObject(expected)
    expect(result.capturedCents).not.toBe(result.ledgerCents)
    expect(existsSync(result.providerLog)).toBe(false)
    await expect(run(result.databaseUrl, 'select 1')).rejects.toThrow('does not exist')
  })

  test('want options that there are', async () => {
    const { code, stderr } = await payments('--inject', 'fraud')
    expect(code).toBe(2)
    expect(stderr).toContain('double or loss')
  })
})

test('a database that is not there ends with 3, and says where it was looked for', async () => {
  const env = { ...process.env, DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' }
  const child = spawn(process.execPath, [join(ROOT, 'examples/payments/main.ts')], { env })
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])
  expect({ code, stdout }).toEqual({ code: 3, stdout: expect.stringContaining('Cannot reach "127.0.0.1:1"') })
})

test('Ctrl-C in the middle stops every process and removes the database', { timeout: LONG }, async () => {
  const server = inject('server').url
  const databases = async () =>
    (await run(server, `select datname from pg_database where datname like 'posthaste_payments_%'`)).rows.map(
      ({ datname }) => datname as string,
    )
  const before = new Set(await databases())
  const env = { ...process.env, DATABASE_URL: server }
  const child = spawn(process.execPath, [join(ROOT, 'examples/payments/main.ts'), '--payments', '5000'], { env })
  const said = text(child.stdout)
  const closed = once(child, 'close')
  const mine = async () => (await databases()).filter((name) => !before.has(name))
  await until(
    async () => {
      const [name] = await mine()
      if (name === undefined) return false
      const looked = run(databaseUrl(server, name), `select from shop.ledger limit 1`)
      return (await looked.catch(() => ({ rowCount: 0 }))).rowCount === 1
    },
    { timeoutMs: 60_000, what: 'a payment is booked' },
  )
  const [name] = await mine()
  child.kill('SIGINT')
  const [code] = await closed
  expect(code).toBe(130)
  expect(await said).toContain('Interrupted: everything is stopped and removed')
  expect(await databases()).not.toContain(name)
})

const SHAPE: PaymentsResult = {
  payments: 40,
  charged: expect.any(Number),
  declined: expect.any(Number),
  inReview: expect.any(Number),
  lost: expect.any(Number),
  doubleCharges: expect.any(Number),
  capturedCents: expect.any(Number),
  ledgerCents: expect.any(Number),
  inReviewCapturedCents: expect.any(Number),
  kills: expect.any(Number),
  databaseUrl: expect.stringMatching(/^postgres(ql)?:\/\//),
  providerLog: expect.stringMatching(/provider\.ndjson$/),
}

async function payments(...args: string[]): Promise<{ code: number; result: PaymentsResult; stderr: string }> {
  const env = { ...process.env, DATABASE_URL: inject('server').url }
  const child = spawn(process.execPath, [join(ROOT, 'examples/payments/main.ts'), '--json', ...args], { env })
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const line = stdout.trimEnd().split('\n').at(-1)
  return { code, stderr, result: line ? JSON.parse(line) : undefined }
}

async function remove({ databaseUrl, providerLog }: PaymentsResult): Promise<void> {
  rmSync(dirname(providerLog), { recursive: true, force: true })
  await run(inject('server').url, `drop database ${new URL(databaseUrl).pathname.slice(1)} with (force)`)
}
