import type { Trace, TracedDelivery } from '../index.ts'
import { databaseCommand, told, wholeBetween } from './command.ts'
import { Failure } from './failure.ts'
import { withPosthaste } from './open.ts'
import { harmless, print, printJson } from './output.ts'

export function traceCommand() {
  return databaseCommand('trace')
    .description(
      'What became of a message: published, routed, attempted, processed, and what was published because of it.',
    )
    .argument('<id>', 'the id of the message')
    .option('--depth <count>', 'how deep to follow what it caused, 0 to 10', wholeBetween(0, 10), 3)
    .addHelpText(
      'after',
      told({
        example: 'posthaste trace 0197a3f0-7c1e-7cc3-8f57-0e6d1b2c3d4e',
        json: `{"version":1,"trace":{"id","message":{…},"routed","deliveries":[{"queue","state","attempts","crashes","at","reason","history":[…]}],
   "processed":[{"consumer","at"}],"effects":[{"operation","state","provider","calls","reason","startedAt","endedAt"}],
   "children":[…],"searchedUntil"}}
   children have the same shape as the trace, or are null where they were not looked for`,
      }),
    )
    .action(async (id, { depth, json, ...where }) => {
      const found = await withPosthaste({ ...where, json, applicationName: 'posthaste trace' }, ({ posthaste }) =>
        posthaste.trace(id, { depth }),
      )
      if (!found) throw new Failure(`Cannot trace "${harmless(id)}": nothing is known of it`)
      if (json) printJson({ trace: found })
      else printTrace(found, '')
    })
}

function printTrace({ id, message, routed, deliveries, processed, effects, children }: Trace, indent: string): void {
  const line = (text: string) => print(indent + harmless(text))
  line(`${message?.type ?? 'a message that the log holds no more'} ${id}`)
  if (message) {
    const { publishedAt, exchange, routingKey, correlationId } = message
    line(
      `  published ${publishedAt.toISOString()} to "${exchange}" with "${routingKey}"${correlationId ? `, in ${correlationId}` : ''}`,
    )
    if (message.erased) line('  its payload is erased')
  }
  if (!routed) line('  not routed yet')
  for (const delivery of deliveries) printDelivery(delivery, line)
  const queues = new Set(deliveries.map(({ queue }) => queue))
  for (const { consumer, at } of processed)
    if (!queues.has(consumer)) line(`  inbox ${consumer}: processed ${at.toISOString()}`)
  for (const { operation, state, provider, startedAt, endedAt } of effects)
    line(
      `  effect ${operation}: ${state} ${(endedAt ?? startedAt).toISOString()}${provider === null ? '' : `, by ${provider}`}`,
    )
  for (const child of children ?? []) {
    line('  caused')
    printTrace(child, `${indent}    `)
  }
}

function printDelivery(
  { queue, state, attempts, at, reason, history }: TracedDelivery,
  line: (text: string) => void,
): void {
  const facts = [at?.toISOString(), reason && `"${reason}"`, attempts ? `attempts ${attempts}` : ''].filter(Boolean)
  line(`  queue ${queue}: ${state} ${facts.join(', ')}`.trimEnd())
  for (const { attempt, at: when, name, message } of history)
    line(`    ${attempt}. ${when} ${`${name ?? ''} ${message}`.trim()}`)
}
