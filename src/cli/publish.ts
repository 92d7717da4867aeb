import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { InvalidArgumentError } from '@commander-js/extra-typings'
import type { RawMessage } from '../index.ts'
import { databaseCommand, told, wholeBetween } from './command.ts'
import { UsageFailure } from './failure.ts'
import { withPosthaste } from './open.ts'
import { print, printJson } from './output.ts'

const TEN_YEARS_MS = 315_360_000_000

interface Given {
  readonly exchange: string
  readonly routingKey?: string | undefined
  readonly type?: string | undefined
  readonly payload?: string | undefined
  readonly file?: string | undefined
  readonly contentType?: string | undefined
  readonly key?: string | undefined
  readonly id?: string | undefined
  readonly header: Readonly<Record<string, string>>
  readonly priority?: number | undefined
  readonly delayMs?: number | undefined
  readonly expiresInMs?: number | undefined
  readonly correlationId?: string | undefined
}

export function publishCommand() {
  return databaseCommand('publish')
    .description('Publishes one message in a transaction of its own.')
    .option('--exchange <name>', 'the exchange; the default one routes to the queue named by the routing key', '')
    .option('--routing-key <key>', 'what bindings compare (default: the type)')
    .option('--type <name>', 'the type of the message (default: the routing key)')
    .option('--payload <json>', 'the payload')
    .option('--file <path>', 'a file with the payload, or - for standard input')
    .option('--content-type <type>', 'the file is no JSON: publish its bytes as they are, of this type')
    .option('--key <key>', 'what the message is about')
    .option('--id <uuid>', 'your own id; publishing it again adds nothing')
    .option('--header <name=value>', 'a header; may be given several times', collectHeader, {})
    .option('--priority <level>', '0 to 9; 9 is delivered first', wholeBetween(0, 9))
    .option('--delay-ms <ms>', 'not to be delivered before', wholeBetween(0, TEN_YEARS_MS))
    .option('--expires-in-ms <ms>', 'not worth delivering after', wholeBetween(1, TEN_YEARS_MS))
    .option('--correlation-id <id>', 'what all messages of one conversation share')
    .addHelpText(
      'after',
      told({
        example: `posthaste publish --exchange orders --type order.placed --payload '{"orderId": 7}'
generate-report | posthaste publish --routing-key reports --file -`,
        json: '{"version":1,"id","duplicate"}',
      }),
    )
    .action(async (options) => {
      const message = await messageOf(options)
      const { id, duplicate } = await withPosthaste(
        { ...options, applicationName: 'posthaste publish' },
        ({ posthaste, transaction }) => transaction((tx) => posthaste.publish(tx, message)),
      )
      if (options.json) printJson({ id, duplicate })
      else print(duplicate ? `${id} was published before` : id)
    })
}

async function messageOf(given: Given): Promise<RawMessage> {
  const type = given.type ?? given.routingKey
  if (type === undefined) throw new UsageFailure('Cannot publish: neither --type nor --routing-key is given')
  return {
    type,
    exchange: given.exchange,
    routingKey: given.routingKey,
    key: given.key,
    id: given.id,
    headers: Object.keys(given.header).length > 0 ? given.header : undefined,
    priority: given.priority,
    delayMs: given.delayMs,
    expiresInMs: given.expiresInMs,
    correlationId: given.correlationId,
    ...(await contentOf(given)),
  }
}

async function contentOf({ payload, file, contentType }: Given) {
  if ((payload === undefined) === (file === undefined)) {
    throw new UsageFailure('Cannot publish: give the message with --payload or with --file, one of them')
  }
  if (payload !== undefined) {
    if (contentType !== undefined) throw new UsageFailure('Cannot publish: --content-type is for the bytes of --file')
    return { payload: parsed(payload, '--payload') }
  }
  const bytes = await contentOfFile(file!)
  return contentType === undefined ? { payload: parsed(textOf(bytes, file!), file!) } : { body: bytes, contentType }
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

// Error texts of JSON.parse quote what they read.
function parsed(text: string, source: string): unknown {
  try {
    return JSON.parse(text, refuseRounding as (key: string, value: unknown) => unknown)
  } catch (error) {
    const reason = error instanceof UsageFailure ? error.message : 'it is not JSON'
    throw new UsageFailure(`Cannot publish ${source}: ${reason}`)
  }
}

function refuseRounding(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || context?.source === undefined) return value
  if (!Number.isFinite(value) || (/^-?\d+$/.test(context.source) && !Number.isSafeInteger(value))) {
    throw new UsageFailure('it has a number that JavaScript would round; write it as a string')
  }
  return value
}

function collectHeader(text: string, headers: Readonly<Record<string, string>>): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It is not of the form name=value.')
  return { ...headers, [text.slice(0, at)]: text.slice(at + 1) }
}
