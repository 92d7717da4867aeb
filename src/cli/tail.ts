import { once } from 'node:events'
import { styleText } from 'node:util'
import type { MessageFacts } from '../index.ts'
import { databaseCommand, told } from './command.ts'
import { fromText } from './from.ts'
import { withPosthaste } from './open.ts'
import { cut, dim, harmless, jsonLine, print } from './output.ts'

export function tailCommand() {
  return databaseCommand('tail')
    .description(
      'Follows what is published, live, until Ctrl-C: everything, or what one stream gets. It changes nothing and leaves nothing behind.',
    )
    .argument('[stream]', 'a stream (default: everything that is published, whatever gets it)')
    .option('--exchange <name>', 'of this exchange; "" for the default exchange')
    .option('--routing-key <pattern>', 'whose routing key matches: order.*, #.failed')
    .option('--key <key>', 'of this key')
    .option('--type <name>', 'of this type')
    .option('--text <text>', 'that contain this text, in the payload, a header or a name, whatever the case')
    .option(
      '--from <where>',
      'earliest, latest, a time or how long ago (10m), or the id of a message',
      fromText,
      'latest' as const,
    )
    .option('--no-follow', 'end when everything is shown that was there')
    .addHelpText(
      'after',
      told({
        example: `posthaste tail
posthaste tail audit --key o1 --from 10m
posthaste tail --exchange orders --routing-key "order.#" --text berlin --json`,
        json: `{"version":1,"position","messageId","publishedAt","exchange","routingKey","type","messageVersion","key","priority",
 "headers":{…},"payload","body","contentType","correlationId","causationId"}, one line for each message
   body is base64, or null where there is a payload`,
      }),
    )
    .action(async (stream, options) => {
      const { exchange, routingKey, key, type, text, from, follow } = options
      await withPosthaste({ ...options, applicationName: 'posthaste tail', endless: true }, async ({ posthaste }) => {
        const signal = interrupted()
        const wanted = { exchange, routingKey, key, type, text, from, follow, signal }
        await posthaste.start({ relay: false, consumers: false })
        try {
          if (!(await posthaste.status()).relay.onDuty)
            warn('No relay is on duty: what is published is shown once one runs (posthaste relay)')
          const messages = stream === undefined ? posthaste.tail(wanted) : posthaste.stream(stream).read(wanted)
          for await (const message of messages) await written(options.json ? asJson(message) : asText(message))
        } finally {
          await posthaste.stop()
        }
      })
    })
}

const INTERRUPTED = 130

/** Aborts with the first signal; the second ends the process at once. */
function interrupted(): AbortSignal {
  const over = new AbortController()
  const heard = () => {
    if (over.signal.aborted) process.exit(INTERRUPTED)
    over.abort()
  }
  process.on('SIGINT', heard).on('SIGTERM', heard)
  return over.signal
}

function warn(sentence: string): void {
  process.stderr.write(`${sentence}\n`)
}

/** A line, once whoever reads it has taken those before. */
async function written(line: string): Promise<void> {
  print(line)
  if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain')
}

function asJson({
  id,
  version,
  key,
  payload,
  body,
  contentType,
  correlationId,
  causationId,
  ...rest
}: MessageFacts): string {
  return jsonLine({
    messageId: id,
    messageVersion: version,
    ...rest,
    key: key ?? null,
    payload: payload ?? null,
    body: body ? Buffer.from(body).toString('base64') : null,
    contentType: contentType ?? null,
    correlationId: correlationId ?? null,
    causationId: causationId ?? null,
  })
}

function asText({ publishedAt, exchange, routingKey, type, key, payload, body, id }: MessageFacts): string {
  const at = dim(publishedAt.toISOString().slice(11, 23))
  const name = styleText('bold', harmless(type), { stream: process.stdout })
  const content = body ? `${body.length} bytes` : cut(JSON.stringify(payload) ?? 'null', 200)
  const way = [exchange === '' ? '' : `${exchange} `, routingKey === type ? '' : `${routingKey} `].join('')
  return `${at} ${name} ${harmless(`${way}${key === undefined ? '' : `key=${key} `}${content}`)} ${dim(id)}`
}
