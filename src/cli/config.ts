import { didYouMean } from '../rules/nearest.ts'
import { databaseCommand, told } from './command.ts'
import { clientSettings } from './open.ts'
import { print, printHeading, printJson, printTable } from './output.ts'
import { masked, OTHER_VARIABLES, type Resolved, resolveTarget, VARIABLES } from './target.ts'

interface Row {
  readonly name: string
  readonly value: string | number | null
  readonly from: string
}

export function configCommand() {
  return databaseCommand('config')
    .description('Shows every setting and who said so, without connecting. Secrets are masked.')
    .addHelpText(
      'after',
      told({
        example: 'posthaste config --schema billing_messages',
        json: `{"version":1,"settings":[{"name","value","from"}],"unread":[…]}
   from: an option, a variable, a file, or "default"; unread: POSTHASTE_* variables that nothing reads`,
      }),
    )
    .action(async (options) => {
      const resolved = await resolveTarget(options)
      const settings = await rowsOf(resolved)
      const unread = unreadVariables()
      if (options.json) return printJson({ settings, unread })
      await printTable(
        ['setting', 'value', 'from'],
        settings.map(({ name, value, from }) => [name, value ?? '–', from]),
        'Nothing is set',
      )
      if (unread.length === 0) return
      printHeading('read by nobody')
      for (const name of unread) print(`${name}${didYouMean(name, Object.values(VARIABLES))}`)
    })
}

async function rowsOf({ url, from, config, settings }: Resolved): Promise<Row[]> {
  const { file, listenUrl, schema, service, healthPort } = settings
  const client = await clientSettings({ url, from })
  const { topology, relay, retention, effects } = config
  const inFile = (name: string, value: number | undefined): Row => ({
    name,
    value: value ?? null,
    from: value === undefined ? 'default' : file!,
  })
  return [
    {
      name: 'config',
      value: file ?? null,
      from: file === undefined ? 'default' : process.env[VARIABLES.config] === file ? VARIABLES.config : 'file',
    },
    { name: 'url', value: url === undefined ? null : masked(url), from: url === undefined ? 'default' : from },
    ...client,
    { name: 'listenUrl', value: listenUrl.value === undefined ? null : masked(listenUrl.value), from: listenUrl.from },
    { name: 'schema', ...schema },
    { name: 'service', value: service.value ?? null, from: service.from },
    {
      name: 'topology',
      value: topology ? `${topology.exchanges.length} exchanges, ${topology.queues.length} queues` : null,
      from: topology ? file! : 'default',
    },
    inFile('relay.pollIntervalMs', relay?.pollIntervalMs),
    inFile('relay.chunk', relay?.chunk),
    inFile('retention.outboxMs', retention?.outboxMs),
    inFile('retention.inboxMs', retention?.inboxMs),
    inFile('retention.deadLettersMs', retention?.deadLettersMs),
    {
      name: 'effects',
      value: effects ? Object.keys(effects).join(', ') : null,
      from: effects ? file! : 'default',
    },
    { name: 'healthPort', value: healthPort.value ?? null, from: healthPort.from },
    {
      name: 'debug',
      value: process.env[VARIABLES.debug] ? 'on' : 'off',
      from: process.env[VARIABLES.debug] ? VARIABLES.debug : 'default',
    },
  ]
}

function unreadVariables(): string[] {
  const read = new Set<string>([...Object.values(VARIABLES), ...OTHER_VARIABLES])
  return Object.keys(process.env)
    .filter((name) => name.startsWith('POSTHASTE_') && !read.has(name))
    .sort()
}
