import { text as textOf } from 'node:stream/consumers'
import { InvalidArgumentError } from '@commander-js/extra-typings'
import type { DeadLetter, DeadLetterSelection, WholeDeadLetter } from '../index.ts'
import { command, databaseCommand, told, wholeBetween } from './command.ts'
import { confirm } from './confirm.ts'
import { BadNews, Failure, Interrupted, UsageFailure } from './failure.ts'
import { parsedJson } from './json-input.ts'
import { type Opened, withPosthaste } from './open.ts'
import { cut, harmless, print, printHeading, printJson, printTable } from './output.ts'
import { myName } from './who.ts'

const LETTER = `"id","queue","reason","messageId","type","exchange","routingKey","key","attempts","crashes",
   "history":[{"attempt","at","name","message",…}],"publishedAt","deadAt"`

export function deadCommand() {
  return command('dead')
    .description('Dead letters: deliveries that ended badly, kept whole with their history. Without a command: list.')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(redriveCommand())
    .addCommand(purgeCommand())
    .addHelpText('after', told({ example: 'posthaste dead list --queue billing' }))
}

function filteredCommand(name: string) {
  return databaseCommand(name)
    .option('--queue <name>', 'of this queue')
    .option('--reason <reason>', 'with this reason: max-attempts, crashed, unknown-type …')
    .option('--type <name>', 'with messages of this type')
    .option('--since <time>', 'that ended at this time or later: 2026-01-31T12:00Z', time)
    .option('--until <time>', 'that ended before this time', time)
    .option('--text <text>', 'with this in the reason, type, key, payload or an error')
}

function listCommand() {
  return filteredCommand('list')
    .description('Lists dead letters, newest first.')
    .option('--limit <count>', 'how many, 1 to 1000', wholeBetween(1, 1_000), 100)
    .option('--before <id>', 'continue a list: only what is older than this one')
    .addHelpText(
      'after',
      told({
        example: 'posthaste dead list --queue billing --reason max-attempts --since 2026-01-31T12:00Z',
        json: `{"version":1,"deadLetters":[{${LETTER}}],"next"}
   next: give it to --before for what follows, null at the end`,
      }),
    )
    .action(async (options) => {
      const { limit, before } = options
      const letters = await withDeadLetters(options, ({ posthaste }) =>
        posthaste.deadLetters.list({ ...filterOf(options), limit, before }),
      )
      const next = letters.length === limit ? letters.at(-1)!.id : null
      if (options.json) return printJson({ deadLetters: letters, next })
      await printList(letters)
      if (next !== null) print(`\nThere may be more: --before ${next}`)
    })
}

function showCommand() {
  return databaseCommand('show')
    .description('Shows one dead letter whole: message, reason, history.')
    .argument('<id>', 'its id')
    .addHelpText(
      'after',
      told({
        example: 'posthaste dead show 42',
        json: `{"version":1,"deadLetter":{${LETTER},
   "messageVersion","priority","correlationId","causationId","headers":{…},"payload","body","contentType"}}
   body is base64, or null where there is a payload`,
      }),
    )
    .action(async (id, options) => {
      const letter = await withDeadLetters(options, ({ posthaste }) => posthaste.deadLetters.show(id))
      if (!letter) throw new Failure(`Cannot show dead letter "${id}": there is none of this id`)
      if (options.json) printJson({ deadLetter: asJson(letter) })
      else printWhole(letter)
    })
}

function redriveCommand() {
  return filteredCommand('redrive')
    .description('Puts dead letters back into their queues, due now; exit code 1 when one that is named is not.')
    .argument('[ids...]', 'their ids; without them, all that the options find')
    .option('--all', 'without ids and without other options: all there are')
    .option('--stdin', 'the ids, or what `dead list --json` printed, come from standard input')
    .option('--to <queue>', 'into another queue')
    .option('--payload <json>', 'with another payload, for one id')
    .option('--dry-run', 'only tell what would be redriven')
    .option('--by <name>', 'who does it, for the history and the journal (default: you)')
    .addHelpText(
      'after',
      told({
        example: `posthaste dead redrive 42 43
posthaste dead redrive --queue billing --reason max-attempts --dry-run
posthaste dead list --json --text timeout | posthaste dead redrive --stdin`,
        json: '{"version":1,"redriven","missing":[ids],"unreadable":[ids],"interrupted","dryRun"}',
      }),
    )
    .action(async (named, options) => {
      const ids = options.stdin ? await idsFromStdin(named) : named
      const selection = options.stdin ? ids : selectionOf(ids, options)
      const { to, dryRun = false, by = myName() } = options
      const how = { by, to, dryRun, ...(options.payload !== undefined && { payload: payloadOf(options.payload) }) }
      const { redriven, missing, unreadable, interrupted } = await withDeadLetters(options, async (opened) => {
        const { signal } = await countedOff(opened, 'redriven', selection)
        return {
          ...(await opened.posthaste.deadLetters.redrive(selection, { ...how, signal })),
          interrupted: signal.aborted,
        }
      })
      if (options.json) printJson({ redriven, missing, unreadable, interrupted, dryRun })
      else {
        print(dryRun ? `${redriven} would be redriven` : `${redriven} redriven`)
        if (missing.length > 0) print(`no dead letters (any more): ${missing.join(', ')}`)
        if (unreadable.length > 0) print(`kept, because their messages are nowhere any more: ${unreadable.join(', ')}`)
      }
      if (interrupted) throw new Interrupted('what is redriven is redriven; run it again for the rest')
      if (unreadable.length > 0 || (ids.length > 0 && missing.length > 0)) throw new BadNews('not all were redriven')
    })
}

function purgeCommand() {
  return filteredCommand('purge')
    .description('Deletes dead letters for good, when it is told yes; exit code 1 when one that is named is not there.')
    .argument('[ids...]', 'their ids; without them, all that the options find')
    .option('--all', 'without ids and without other options: all there are')
    .option('--yes', 'do not ask')
    .option('--by <name>', 'who does it, for the journal (default: you)')
    .addHelpText(
      'after',
      told({
        example: `posthaste dead purge 42
posthaste dead purge --queue billing --yes`,
        json: '{"version":1,"purged","missing":[ids],"interrupted"}',
      }),
    )
    .action(async (ids, options) => {
      const selection = selectionOf(ids, options)
      const { yes, json } = options
      const { purged, missing, interrupted } = await withDeadLetters(options, async (opened) => {
        const { deadLetters } = opened.posthaste
        const count = await deadLetters.count(selection)
        if (count > 0) await confirm({ count, what: count === 1 ? 'dead letter' : 'dead letters', yes, json })
        const { signal } = await countedOff(opened, 'purged', selection)
        return {
          ...(await deadLetters.purge(selection, { by: options.by ?? myName(), signal })),
          interrupted: signal.aborted,
        }
      })
      if (json) printJson({ purged, missing, interrupted })
      else {
        print(`${purged} purged`)
        if (missing.length > 0) print(`no dead letters (any more): ${missing.join(', ')}`)
      }
      if (interrupted) throw new Interrupted('what is purged is purged; run it again for the rest')
      if (ids.length > 0 && missing.length > 0) throw new BadNews('not all were there')
    })
}

/** Shows how far it is, transaction by transaction; Ctrl-C ends it after the one under way. */
async function countedOff(
  { posthaste, progress, stepwise }: Opened,
  event: 'redriven' | 'purged',
  selection: DeadLetterSelection,
): Promise<{ readonly signal: AbortSignal }> {
  const total = await posthaste.deadLetters.count(selection)
  let done = 0
  posthaste.on(event, ({ deliveries }) => {
    done += deliveries
    progress({ done, total })
  })
  return { signal: stepwise() }
}

interface Filter {
  readonly queue?: string | undefined
  readonly reason?: string | undefined
  readonly type?: string | undefined
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  readonly text?: string | undefined
}

interface Where {
  readonly url?: string | undefined
  readonly schema?: string | undefined
  readonly config?: string | undefined
  readonly json?: true | undefined
}

function withDeadLetters<Result>(where: Where, work: (opened: Opened) => Promise<Result>): Promise<Result> {
  return withPosthaste({ ...where, applicationName: 'posthaste dead' }, work)
}

function filterOf({ queue, reason, type, since, until, text }: Filter): Filter {
  return { queue, reason, type, since, until, text }
}

function selectionOf(
  ids: readonly string[],
  options: Filter & { readonly all?: true | undefined },
): DeadLetterSelection {
  const filter = filterOf(options)
  const filters = Object.values(filter).some((value) => value !== undefined)
  if (ids.length > 0) {
    if (filters || options.all)
      throw new UsageFailure(
        'Cannot take ids together with --queue, --reason, --type, --since, --until, --text or --all',
      )
    return ids
  }
  if (!filters && !options.all)
    throw new UsageFailure('Cannot tell which dead letters: give ids, options that find them, or --all')
  if (filters && options.all) throw new UsageFailure('Cannot take --all together with options that find some')
  return filter
}

/** One id or several a line, or the answer of `dead list --json`. */
async function idsFromStdin(named: readonly string[]): Promise<string[]> {
  if (named.length > 0) throw new UsageFailure('Cannot take ids together with --stdin')
  const text = (await textOf(process.stdin)).trim()
  if (!text.startsWith('{')) return text.split(/\s+/).filter((id) => id !== '')
  const { deadLetters } = readJson(text, '--stdin') as { deadLetters?: unknown }
  const ids = Array.isArray(deadLetters) ? deadLetters.map((letter) => letter?.id) : [undefined]
  if (ids.every((id) => typeof id === 'string')) return ids
  throw new UsageFailure('Cannot redrive --stdin: it is not what `posthaste dead list --json` prints')
}

function payloadOf(text: string): unknown {
  return readJson(text, '--payload')
}

function readJson(text: string, from: string): unknown {
  try {
    return parsedJson(text)
  } catch (error) {
    throw new UsageFailure(`Cannot redrive ${from}: ${(error as Error).message}`)
  }
}

async function printList(letters: readonly DeadLetter[]): Promise<void> {
  await printTable(
    ['id', 'queue', 'reason', 'type', 'key', 'attempts', 'crashes', 'dead at', 'last error'],
    letters.map(({ id, queue, reason, type, key, attempts, crashes, deadAt, history }) => [
      id,
      queue,
      cut(reason, 40),
      type,
      key,
      attempts,
      crashes,
      deadAt,
      cut(history.at(-1)?.message ?? '', 60),
    ]),
    'No dead letters',
  )
}

function printWhole(letter: WholeDeadLetter): void {
  const { history, payload, body, headers, ...facts } = letter
  for (const [name, value] of Object.entries(facts)) {
    if (value !== null)
      print(`${name.padEnd(14)} ${harmless(value instanceof Date ? value.toISOString() : String(value))}`)
  }
  print(`${'headers'.padEnd(14)} ${harmless(JSON.stringify(headers))}`)
  printHeading('history')
  for (const { attempt, at, name, message } of history)
    print(`${attempt}. ${at} ${harmless(`${name ?? ''} ${message}`.trim())}`)
  printHeading(body ? `body, ${body.length} bytes in base64` : 'payload')
  print(
    body
      ? body.toString('base64')
      : (JSON.stringify(payload, null, 2) ?? 'not in the log any more').split('\n').map(harmless).join('\n'),
  )
}

function asJson({ version, payload, body, ...rest }: WholeDeadLetter) {
  return { ...rest, messageVersion: version, payload: payload ?? null, body: body ? body.toString('base64') : null }
}

function time(text: string): Date {
  const parsed = new Date(text)
  if (Number.isNaN(parsed.getTime())) throw new InvalidArgumentError('It is not a time; write 2026-01-31T12:00Z.')
  return parsed
}
