import type { Audit } from '../index.ts'
import { databaseCommand, told } from './command.ts'
import { BadNews } from './failure.ts'
import { withPosthaste } from './open.ts'
import { print, printHeading, printJson, printTable } from './output.ts'

export function auditCommand() {
  return databaseCommand('audit')
    .description('Accounts for every message, in one snapshot; exit code 1 when the difference is not 0.')
    .addHelpText(
      'after',
      told({
        example: 'posthaste audit --json',
        json: `{"version":1,
   "queues":[{"queue","routed","ready","scheduled","leased","completed","dead","expired","discarded","purged",
              "retried","redriven","difference"}],
   "exchanges":[{"exchange","published","routed","unmatched","unrouted","difference"}],
   "difference"}`,
      }),
    )
    .action(async (options) => {
      const audit = await withPosthaste({ ...options, applicationName: 'posthaste audit' }, ({ posthaste }) =>
        posthaste.audit(),
      )
      if (options.json) printJson(audit)
      else await show(audit)
      if (audit.difference !== 0) throw new BadNews(`the difference is ${audit.difference}`)
    })
}

const QUEUE = [
  'queue',
  'routed',
  'ready',
  'scheduled',
  'leased',
  'completed',
  'dead',
  'expired',
  'discarded',
  'purged',
  'difference',
] as const
const EXCHANGE = ['exchange', 'published', 'routed', 'unmatched', 'unrouted', 'difference'] as const

async function show({ queues, exchanges, difference }: Audit): Promise<void> {
  await printTable(
    QUEUE,
    queues.map((account) => QUEUE.map((column) => account[column])),
    'No queues are declared',
  )
  print('')
  await printTable(
    EXCHANGE,
    exchanges.map((account) => EXCHANGE.map((column) => account[column] || (column === 'exchange' ? '(default)' : 0))),
    'No exchanges are declared',
  )
  printHeading(
    difference === 0 ? 'Every message is accounted for: the difference is 0' : `The difference is ${difference}`,
  )
}
