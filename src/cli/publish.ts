import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { InvalidArgumentError } from '@commander-js/extra-typings'
import type { RawMessage } from '../index.ts'
import { databaseCommand, told, wholeBetween } from './command.ts'
import { BadNews, Failure, Interrupted, UsageFailure } from './failure.ts'
import { parsedJson } from './json-input.ts'
import { withPosthaste } from './open.ts'
import { print, printJson } from './output.ts'
import { type PublishedFile, publishFile } from './publish-file.ts'
import type { TargetOptions } from './target.ts'

const TEN_YEARS_MS = 315_360_000_000

interface Given {
  readonly exchange: string
  readonly routingKey?: string | undefined
  readonly type?: string | undefined
  readonly payload?: string | undefined
  readonly payloadFile?: string | undefined
  readonly fromLine?: number | undefined
  readonly restart?: true | undefined
  readonly skipBad?: true | undefined
  readonly contentType?: string | undefined
  readonly key?: string | undefined
  readonly id?: string | undefined
  readonly header: Readonly<Record<string, string>>
  readonly priority?: number | undefined
  readonly delayMs?: number | undefined
  readonly expiresInMs?: number | undefined
  readonly correlationId?: string | undefined
  readonly dedupeKey?: string | undefined
  readonly dedupeWindowMs?: number | undefined
}

export function publishCommand() {
  return databaseCommand('publish')
    .description(
      'Publishes one message in a transaction of its own, or a file of them, a thousand per transaction: each line a JSON object with type, exchange, routingKey, key, payload … What a line does not say comes from the options. A bad line ends it, with its number and reason; run again, it goes on where it ended.',
    )
    .option('--exchange <name>', 'the exchange; the default one routes to the queue named by the routing key', '')
    .option('--routing-key <key>', 'what bindings compare (default: the type)')
    .option('--type <name>', 'the type of the message (default: the routing key)')
    .option('--payload <json>', 'the payload')
    .option('--payload-file <path>', 'a file with the payload, or - for standard input')
    .option('--content-type <type>', 'the payload file is no JSON: publish its bytes as they are, of this type')
    .option('--file <path>', 'a file of messages, one JSON object a line, or - for standard input')
    .option('--from-line <number>', 'of the file, begin with this line', wholeBetween(1, Number.MAX_SAFE_INTEGER))
    .option('--restart', 'of the file, publish all, whatever an earlier run has published of it')
    .option('--skip-bad', 'of the file, tell of bad lines and go on; exit code 1 all the same')
    .option('--key <key>', 'what the message is about')
    .option('--id <uuid>', 'your own id; publishing it again adds nothing')
    .option('--header <name=value>', 'a header; may be given several times', collectHeader, {})
    .option('--priority <level>', '0 to 9; 9 is delivered first', wholeBetween(0, 9))
    .option('--delay-ms <ms>', 'not to be delivered before', wholeBetween(0, TEN_YEARS_MS))
    .option('--expires-in-ms <ms>', 'not worth delivering after', wholeBetween(1, TEN_YEARS_MS))
    .option('--correlation-id <id>', 'what all messages of one conversation share')
    .option('--dedupe-key <key>', 'what makes it the same as an earlier one of its type: then nothing is added')
    .option(
      '--dedupe-window-ms <ms>',
      'how long the key is remembered (default: 7 days)',
      wholeBetween(1, TEN_YEARS_MS),
    )
    .addHelpText(
      'after',
      told({
        example: `posthaste publish --exchange orders --type order.placed --payload '{"orderId": 7}'
generate-report | posthaste publish --routing-key reports --payload-file -
posthaste publish --exchange orders --file messages.ndjson`,
        json: `{"version":1,"id"?,"duplicate"?,"published"?,"duplicates"?,"bad"?:[{"line","reason"}],"next"?,"interrupted"?}
   of one message id and duplicate, of a file the rest; next: the line to go on with, null when all is published`,
      }),
    )
    .action(async (options) => {
      if (options.file === undefined) await publishOne(options)
      else await publishMany(options.file, options)
    })
}

type Options = Given & TargetOptions & { readonly json?: true | undefined }

async function publishOne(options: Options): Promise<void> {
  const stray = (['fromLine', 'restart', 'skipBad'] as const).find((name) => options[name] !== undefined)
  if (stray !== undefined) throw new UsageFailure(`Cannot publish: --${kebab(stray)} is for a --file`)
  const message = await messageOf(options)
  const { id, duplicate } = await withPosthaste(
    { ...options, applicationName: 'posthaste publish', withTopology: true },
    ({ posthaste, transaction }) => transaction((tx) => posthaste.publish(tx, message)),
  )
  if (options.json) printJson({ id, duplicate })
  else print(duplicate ? `${id} was published before` : id)
}

async function publishMany(file: string, options: Options): Promise<void> {
  const stray = (['payload', 'payloadFile', 'contentType', 'id', 'dedupeKey'] as const).find(
    (name) => options[name] !== undefined,
  )
  if (stray !== undefined) throw new UsageFailure(`Cannot publish a --file with --${kebab(stray)}: its lines say that`)
  const { fromLine, restart, skipBad } = options
  const result = await withPosthaste(
    { ...options, applicationName: 'posthaste publish', withTopology: true },
    (opened) => publishFile(opened, { file, defaults: defaultsOf(options), fromLine, restart, skipBad }),
  )
  if (options.json) printJson(result)
  else print(resultOf(result))
  if (result.interrupted) throw new Interrupted(`${resumption(file, result)} goes on with line ${result.next}`)
  if (result.bad.length === 0) return
  if (options.json) throw new BadNews('not all lines were published')
  throw new Failure(badLines(file, result))
}

function resultOf({ published, duplicates }: PublishedFile): string {
  const before = duplicates > 0 ? `, ${duplicates.toLocaleString('en')} had been published before` : ''
  return `${published.toLocaleString('en')} published${before}`
}

const LINES_SHOWN = 20

function badLines(file: string, result: PublishedFile): string {
  const { bad, next } = result
  const told = bad.slice(0, LINES_SHOWN).map(({ line, reason }) => `Cannot publish line ${line}: ${reason}`)
  const untold = bad.length > LINES_SHOWN ? [`and ${bad.length - LINES_SHOWN} lines more`] : []
  const advice =
    next === null ? [] : [`What comes before it is published. Correct it; ${resumption(file, result)} goes on`]
  return [...told, ...untold, ...advice].join('\n')
}

function resumption(file: string, { next }: PublishedFile): string {
  return file === '-' ? `--from-line ${next}` : 'the same command'
}

function defaultsOf(given: Given): Partial<RawMessage> {
  const { header, exchange, routingKey, type, key, priority, delayMs, expiresInMs, correlationId, dedupeWindowMs } =
    given
  const headers = Object.keys(header).length > 0 ? header : undefined
  const times = { delayMs, expiresInMs, dedupeWindowMs }
  const said = { exchange, routingKey, type, key, headers, priority, correlationId, ...times }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

async function messageOf(given: Given): Promise<RawMessage> {
  const type = given.type ?? given.routingKey
  if (type === undefined) throw new UsageFailure('Cannot publish: neither --type nor --routing-key is given')
  return {
    ...defaultsOf(given),
    type,
    id: given.id,
    dedupeKey: given.dedupeKey,
    ...(await contentOf(given)),
  } as RawMessage
}

async function contentOf({ payload, payloadFile, contentType }: Given) {
  if ((payload === undefined) === (payloadFile === undefined)) {
    throw new UsageFailure('Cannot publish: give the message with --payload or --payload-file, or many with --file')
  }
  if (payload !== undefined) {
    if (contentType !== undefined)
      throw new UsageFailure('Cannot publish: --content-type is for the bytes of --payload-file')
    return { payload: parsed(payload, '--payload') }
  }
  const bytes = await contentOfFile(payloadFile!)
  return contentType === undefined
    ? { payload: parsed(textOf(bytes, payloadFile!), payloadFile!) }
    : { body: bytes, contentType }
}

async function contentOfFile(file: string): Promise<Buffer> {
  if (file === '-') return await buffer(process.stdin)
  try {
    return await readFile(file)
  } catch (error) {
    throw new UsageFailure(`Cannot read "${file}": ${(error as NodeJS.ErrnoException).code}`, { cause: error })
  }
}

function textOf(bytes: Buffer, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new UsageFailure(`Cannot read "${file}": it is not UTF-8; give --content-type to publish its bytes`, {
      cause: error,
    })
  }
}

function parsed(text: string, source: string): unknown {
  try {
    return parsedJson(text)
  } catch (error) {
    throw new UsageFailure(`Cannot publish ${source}: ${(error as Error).message}`)
  }
}

function collectHeader(text: string, headers: Readonly<Record<string, string>>): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It is not of the form name=value.')
  return { ...headers, [text.slice(0, at)]: text.slice(at + 1) }
}
