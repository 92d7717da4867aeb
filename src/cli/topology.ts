import type { StoredTopology, TopologyDiff } from '../index.ts'
import { command, databaseCommand, told } from './command.ts'
import { BadNews, UsageFailure } from './failure.ts'
import { type Opened, withPosthaste } from './open.ts'
import { harmless, print, printHeading, printJson, printTable } from './output.ts'

const DIFF = '"missing":[…],"conflicts":[{"subject","setting","declared","stored"}],"extra":[…]'

export function topologyCommand() {
  return command('topology')
    .description('Exchanges, queues and bindings. Without a command: show.')
    .addCommand(showCommand())
    .addCommand(declareCommand())
    .addCommand(diffCommand())
    .addHelpText('after', told({ example: 'posthaste topology diff --config posthaste.config.ts' }))
}

function showCommand() {
  return databaseCommand('show')
    .description('What is declared in the database, by all services that share it.')
    .addHelpText(
      'after',
      told({
        example: 'posthaste topology show',
        json: `{"version":1,
   "exchanges":[{"name","kind","owner","declaredAt"}],
   "queues":[{"name","kind","retry":{"maxAttempts","strategy","minMs","maxMs","factor","jitter","delaysMs"?},"maxCrashes","deadLetter","newerVersions","flow":{…},"stream","owner","declaredAt"}],
   "bindings":[{"exchange","queue","routingKey","type","match","arguments","owner"}]}`,
      }),
    )
    .action(async (options) => {
      const stored = await withPosthaste({ ...options, applicationName: 'posthaste topology' }, ({ posthaste }) =>
        posthaste.topology(),
      )
      if (options.json) printJson(asJson(stored))
      else await show(stored)
    })
}

function declareCommand() {
  return databaseCommand('declare')
    .description('Declares the topology of posthaste.config.ts: adds what is missing and removes nothing.')
    .option('--force', 'let this topology win over what another service declared differently')
    .addHelpText(
      'after',
      told({ example: 'posthaste topology declare', json: '{"version":1,"added":[…],"extra":[…]}' }),
    )
    .action(async (options) => {
      const { missing: added, extra } = await withDeclared(options, async ({ posthaste }) => {
        const before = await posthaste.topologyDiff()
        await posthaste.declare({ force: options.force ?? false })
        return before
      })
      if (options.json) printJson({ added, extra })
      else print(added.length === 0 ? 'Everything is declared' : ['Declared', ...added.map(indented)].join('\n'))
    })
}

function diffCommand() {
  return databaseCommand('diff')
    .description('What declaring posthaste.config.ts would add or refuse; exit code 1 when there is something.')
    .addHelpText('after', told({ example: 'posthaste topology diff', json: `{"version":1,${DIFF}}` }))
    .action(async (options) => {
      const diff = await withDeclared(options, ({ posthaste }) => posthaste.topologyDiff())
      const conflicts = diff.conflicts.map(({ subject, setting, declared, stored }) => ({
        subject,
        setting,
        declared: declared ?? null,
        stored: stored ?? null,
      }))
      if (options.json) printJson({ missing: diff.missing, conflicts, extra: diff.extra })
      else showDiff(diff)
      if (diff.missing.length > 0 || conflicts.length > 0) throw new BadNews('the topologies differ')
    })
}

interface Where {
  readonly url?: string | undefined
  readonly schema?: string | undefined
  readonly config?: string | undefined
}

function withDeclared<Result>(where: Where, work: (opened: Opened) => Promise<Result>): Promise<Result> {
  return withPosthaste({ ...where, applicationName: 'posthaste topology', withTopology: true }, async (opened) => {
    if (opened.config.topology) return await work(opened)
    throw new UsageFailure(
      'Cannot find a topology: export default { topology } from posthaste.config.ts, or name the file with --config',
    )
  })
}

function asJson({ exchanges, queues, bindings }: Omit<StoredTopology, 'contracts'>) {
  return {
    exchanges,
    queues: queues.map(({ id: _, ...queue }) => queue),
    bindings: bindings.map(({ pattern: _, ...binding }) => binding),
  }
}

async function show({ exchanges, queues, bindings }: StoredTopology): Promise<void> {
  printHeading('exchanges')
  await printTable(
    ['exchange', 'kind', 'owner'],
    exchanges.map(({ name, kind, owner }) => [name || '(default)', kind, owner]),
    'None',
  )
  printHeading('queues')
  await printTable(
    ['queue', 'kind', 'attempts', 'crashes', 'owner', 'declared'],
    queues.map(({ name, kind, retry, maxCrashes, owner, declaredAt }) => [
      name,
      kind,
      retry.maxAttempts,
      maxCrashes,
      owner,
      declaredAt,
    ]),
    'None',
  )
  printHeading('bindings')
  await printTable(
    ['queue', 'exchange', 'routing key', 'type', 'headers', 'owner'],
    bindings.map(({ queue, exchange, routingKey, type, match, arguments: wanted, owner }) => [
      queue,
      exchange || '(default)',
      routingKey,
      type,
      wanted ? `${match} ${JSON.stringify(wanted)}` : '',
      owner,
    ]),
    'None',
  )
}

function showDiff({ missing, conflicts, extra }: TopologyDiff): void {
  if (missing.length + conflicts.length + extra.length === 0) print('Everything is declared')
  if (missing.length > 0) print(['To be added', ...missing.map(indented)].join('\n'))
  if (conflicts.length > 0)
    print(['Declared differently', ...conflicts.map(({ message }) => indented(message))].join('\n'))
  if (extra.length > 0) print(['Declared by others, and left alone', ...extra.map(indented)].join('\n'))
}

function indented(text: string): string {
  return `  ${harmless(text)}`
}
