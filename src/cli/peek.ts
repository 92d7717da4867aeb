import type { PeekedDelivery } from '../index.ts'
import { databaseCommand, told, wholeBetween } from './command.ts'
import { withPosthaste } from './open.ts'
import { cut, printJson, printTable } from './output.ts'

export function peekCommand() {
  return databaseCommand('peek')
    .description('Looks at the deliveries of a queue that are next in line; changes nothing.')
    .argument('<queue>', 'the queue')
    .option('--limit <count>', 'how many, 1 to 1000', wholeBetween(1, 1_000), 10)
    .addHelpText(
      'after',
      told({
        example: 'posthaste peek billing --limit 3',
        json: `{"version":1,"queue",
   "deliveries":[{"messageId","priority","attempts","crashes","errors":[…],"exchange","routingKey","type","messageVersion",
                  "key","correlationId","causationId","headers":{…},"payload","body","contentType","publishedAt","expired"}]}
   body is base64, or null where there is a payload`,
      }),
    )
    .action(async (queue, options) => {
      const deliveries = await withPosthaste({ ...options, applicationName: 'posthaste peek' }, ({ posthaste }) =>
        posthaste.queue(queue).peek({ limit: options.limit }),
      )
      if (options.json) printJson({ queue, deliveries: deliveries.map(asJson) })
      else await show(queue, deliveries)
    })
}

function asJson({ version, payload, body, ...rest }: PeekedDelivery) {
  return { ...rest, messageVersion: version, payload: payload ?? null, body: body ? base64(body) : null }
}

async function show(queue: string, deliveries: readonly PeekedDelivery[]): Promise<void> {
  await printTable(
    ['message', 'type', 'key', 'priority', 'attempts', 'published', 'content'],
    deliveries.map(({ messageId, type, key, priority, attempts, publishedAt, payload, body }) => [
      messageId,
      type,
      key,
      priority,
      attempts,
      publishedAt,
      cut(body ? `${body.length} bytes` : (JSON.stringify(payload) ?? 'not in the log'), 80),
    ]),
    `Nothing is ready in "${queue}"`,
  )
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
