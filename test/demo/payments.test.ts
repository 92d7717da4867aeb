import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, inject, test } from 'vitest'
import type { PaymentsResult } from '../../examples/payments/main.ts'
import { ROOT } from '../support/process.ts'
import { run } from '../support/server.ts'

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
