import { expect, test, vi } from 'vitest'
import type { HandledLine, HandledRecord } from '../../src/index.ts'
import { until } from '../support/until.ts'
import { bench } from './bench.ts'

vi.setConfig({ testTimeout: 60_000 })

async function handled() {
  const b = await bench({ retry: { maxAttempts: 20, minMs: 60_000, maxMs: 60_000 } })
  const records: HandledRecord[] = []
  const consume = (group: string, options: { from?: 'latest' } = {}) => {
    const process = b.process()
    process
      .consumer(b.stream, { group, concurrency: 3, batchSize: 7, ...options })
      .on(b.Moved, async ({ id, key, position, payload }, { tx }) => {
        if (payload.account === 'refused') throw new Error('refused')
        await tx.query('select 1')
        records.push({ group, key: key ?? null, messageId: id, position, at: new Date().toISOString() })
      })
    return process
  }
  return { b, records, consume }
}

const lines = (records: readonly HandledRecord[]): HandledLine[] =>
  records.map((record, n) => ({ ...record, line: n + 1 }))

/** Until the group has said in the log that it has handled so many. */
async function passed(verdict: () => Promise<{ groups: readonly { messages: number }[] }>, messages: number) {
  await until(async () => (await verdict()).groups.every((group) => group.messages >= messages), { timeoutMs: 30_000 })
}

test('what two groups wrote down, read by several processes, has no fault, and each one that is planted is found', async () => {
  const { b, records, consume } = await handled()
  const names = [`${b.stream}-a`, `${b.stream}-b`]
  const processes = [consume(names[0]!), consume(names[1]!), consume(names[0]!)] as const
  for (const process of processes) await process.start()
  await b.publish(400)
  await passed(() => processes[0].verify(lines(records), { groups: names }), 400)
  const faultsOf = async (given: readonly HandledRecord[]) => {
    const { ok, groups } = await processes[0].verify(lines(given), { groups: names })
    expect(groups.map(({ messages }) => messages)).toEqual([400, 400])
    const faults = groups.flatMap((group) => group.faults)
    expect(ok).toBe(faults.length === 0)
    return faults
  }
  expect(records).toHaveLength(800)
  expect(await faultsOf(records)).toEqual([])

  for (const n of [0, 399, 799]) {
    const { group, key, messageId, position } = records[n]!
    expect(await faultsOf(records.toSpliced(n, 1))).toMatchObject([
      { fault: 'missing', group, key, messageId, position, line: null },
    ])
  }
  expect(await faultsOf([...records, records[123]!])).toMatchObject([
    { fault: 'doubled', messageId: records[123]!.messageId, line: 801 },
  ])
  const { group: of } = records[0]!
  const [first, second] = records.flatMap(({ group, key }, n) => (group === of && key === 'a3' ? [n] : []))
  const swapped = records.with(first!, records[second!]!).with(second!, records[first!]!)
  expect((await faultsOf(swapped))[0]).toMatchObject({
    fault: 'out-of-order',
    key: 'a3',
    messageId: records[second!]!.messageId,
    line: first! + 1,
  })
  const messageId = '00000000-0000-4000-8000-000000000000'
  expect(await faultsOf([...records, { ...records[0]!, messageId }])).toMatchObject([
    { fault: 'unknown', messageId, line: 801 },
  ])
})

test('what a group has not reached, what waits behind a failure, and what came before it need no record', async () => {
  const { b, records, consume } = await handled()
  const before = consume('never-started')
  await before.start({ consumers: false })
  await b.publish(20)
  await until(async () => {
    const seen: string[] = []
    for await (const { id } of before.stream(b.stream).read({ from: 'earliest', follow: false })) seen.push(id)
    return seen.length === 20
  })
  const group = `${b.stream}-late`
  const late = consume(group, { from: 'latest' })
  await late.start()
  await b.publish(1, () => 'refused', 20)
  await b.publish(30, (n) => (n % 3 === 0 ? 'refused' : `a${n}`), 21)
  await until(() => records.length >= 20, { timeoutMs: 30_000 })
  await passed(() => late.verify(lines(records), { groups: [group] }), 31)
  await late.stop()
  await b.publish(10, undefined, 51)
  const verdict = await late.verify(lines(records))
  expect(verdict).toMatchObject({ ok: true, groups: [{ group, stream: b.stream, messages: 31, putAside: 11 }] })
  expect((await late.verify(lines(records), { from: 'earliest' })).groups[0]!.counts.missing).toBe(20)
})

test('a group that no stream has, or several have, wants its stream named', async () => {
  const { b, consume } = await handled()
  const process = consume(b.stream)
  await process.start()
  const record = { group: 'gone', key: null, messageId: '00000000-0000-4000-8000-000000000000', line: 1 }
  await expect(process.verify([record])).rejects.toThrow('none has a group "gone"')
  expect((await process.verify([record], { stream: b.stream })).groups[0]!.counts).toMatchObject({
    unknown: 1,
    missing: 0,
  })
})
