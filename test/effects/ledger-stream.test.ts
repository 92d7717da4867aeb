import { expect, test } from 'vitest'
import { bench, disordered, EFFECT } from '../stream/bench.ts'
import { until } from '../support/until.ts'

test('an account whose entry fails is parked, and told; the other accounts go on, and its later entries follow in order (P-4, O-1)', async () => {
  const ledger = await bench({ retry: { maxAttempts: 500 } })
  const process = ledger.process()
  let broken = true
  process.consumer(ledger.stream).on(ledger.Moved, async ({ id, payload }, { tx }) => {
    if (broken && payload.account === 'a3') throw new Error('the account is frozen')
    await tx.query(EFFECT, [ledger.stream, id, payload.account, payload.n])
  })
  const parked = process.until('parked')
  await process.start()
  const ids = await ledger.publish(100)
  expect(await parked).toMatchObject({ queue: ledger.stream, key: 'a3' })
  await ledger.handled(90)
  expect((await ledger.effects()).filter(({ account }) => account === 'a3')).toEqual([])
  broken = false
  await ledger.handled(100)
  const effects = await ledger.effects()
  expect(effects.map(({ message_id }) => message_id).toSorted()).toEqual(ids.toSorted())
  expect(disordered(effects)).toEqual([])
  await until(async () => (await process.audit()).difference === 0)
})
