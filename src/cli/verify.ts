import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Fault, GroupVerdict, HandledLine } from '../index.ts'
import { handledRecord } from '../index.ts'
import { databaseCommand, told, wholeBetween } from './command.ts'
import { BadNews, Failure } from './failure.ts'
import { fromText } from './from.ts'
import { withPosthaste } from './open.ts'
import { print, printHeading, printJson, printTable } from './output.ts'

export function verifyCommand() {
  return databaseCommand('verify')
    .description(
      'Judges what handlers of streams have written down, by the log: whether each group has handled every message that it has passed, once, and those of a key in their order. Exit code 1 when not. A line is {"group","key","messageId","position","at"}.',
    )
    .argument('<file>', 'NDJSON, a line for each message handled; - for standard input')
    .option('--stream <name>', 'the stream (default: the one that has a group of this name)')
    .option('--group <name...>', 'groups that must have records (default: those that have)')
    .option(
      '--from <where>',
      'from where on the log has to be handled: earliest, a time, or the id of a message',
      fromText,
    )
    .option(
      '--repeats',
      'a message may come again, as handlers see it whose transaction was rolled back or whose process died',
    )
    .option(
      '--limit <count>',
      'how many faults of a group are told, 1 to 100000; all are counted',
      wholeBetween(1, 100_000),
      20,
    )
    .addHelpText(
      'after',
      told({
        example: `posthaste verify handled.ndjson
posthaste verify handled.ndjson --stream audit --from 2026-01-31T00:00:00Z --json`,
        json: `{"version":1,"ok","records","unreadable":[line…],
   "groups":[{"stream","group","records","messages","repeated","putAside",
              "counts":{"missing","doubled","out-of-order","unknown","misplaced"},
              "faults":[{"fault","group","key","messageId","position","line","reason"}]}]}
   messages: those of the log that the group has passed; putAside: those of them that wait in it or died in it;
   line is null for what is missing`,
      }),
    )
    .action(async (file, options) => {
      const { stream, group: groups, from, repeats, limit: most, json } = options
      const unreadable: number[] = []
      const { ok, groups: judged } = await withPosthaste(
        { ...options, applicationName: 'posthaste verify' },
        ({ posthaste }) => posthaste.verify(linesOf(file, unreadable), { stream, groups, from, repeats, most }),
      )
      const records = judged.reduce((sum, each) => sum + each.records, 0)
      const fine = ok && unreadable.length === 0
      if (judged.length === 0) throw new Failure(`Cannot verify "${file}": it has no records`)
      if (json) printJson({ ok: fine, records, unreadable, groups: judged })
      else await show(judged, unreadable)
      if (!fine) throw new BadNews('there are faults')
    })
}

/** The records of a file. What is torn off at its end is no line: its writer died, and its message came again. */
async function* linesOf(file: string, unreadable: number[]): AsyncGenerator<HandledLine> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  input.once('error', (error: Error) => failed.reject(new Failure(`Cannot read "${file}": ${error.message}`)))
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]()
  let line = 0
  let broken: number | undefined
  for (;;) {
    const { done, value: text } = await Promise.race([lines.next(), failed.promise])
    if (done) return
    line += 1
    if (broken !== undefined) unreadable.push(broken)
    broken = undefined
    if (text.trim() === '') continue
    const record = handledRecord(text)
    if (record) yield { ...record, line }
    else broken = line
  }
}

async function show(judged: readonly GroupVerdict[], unreadable: readonly number[]): Promise<void> {
  await printTable(
    [
      'stream',
      'group',
      'records',
      'messages',
      'put aside',
      'repeated',
      'missing',
      'doubled',
      'out of order',
      'unknown',
      'misplaced',
    ],
    judged.map(({ stream, group, records, messages, putAside, repeated, counts }) => [
      stream,
      group,
      records,
      messages,
      putAside,
      repeated,
      counts.missing,
      counts.doubled,
      counts['out-of-order'],
      counts.unknown,
      counts.misplaced,
    ]),
    'No records',
  )
  const faults = judged.flatMap((each) => each.faults)
  if (faults.length > 0) await showFaults(faults)
  if (unreadable.length > 0) print(`\nNo records: line ${unreadable.join(', ')}`)
}

async function showFaults(faults: readonly Fault[]): Promise<void> {
  printHeading('faults')
  await printTable(
    ['fault', 'group', 'key', 'message', 'position', 'line', 'reason'],
    faults.map(({ fault, group, key, messageId, position, line, reason }) => [
      fault,
      group,
      key,
      messageId,
      position,
      line,
      reason,
    ]),
    '',
  )
}
