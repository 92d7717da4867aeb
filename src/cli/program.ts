import { readFileSync } from 'node:fs'
import { command, type Shaped } from './command.ts'
import { report } from './failure.ts'
import { surviveClosedPipes } from './output.ts'

interface Entry {
  readonly summary: string
  readonly load: () => Promise<Shaped>
}

// Only what is asked for is loaded.
const COMMANDS: Readonly<Record<string, Entry>> = {
  init: {
    summary: 'write a configuration, a contract and a consumer that run',
    load: async () => (await import('./init.ts')).initCommand(),
  },
  migrate: {
    summary: 'bring the schema to this release, or check or print it',
    load: async () => (await import('./migrate.ts')).migrateCommand(),
  },
  topology: {
    summary: 'show, declare or compare exchanges, queues and bindings',
    load: async () => (await import('./topology.ts')).topologyCommand(),
  },
  contracts: {
    summary: 'the shapes of messages, and their JSON Schemas',
    load: async () => (await import('./contracts.ts')).contractsCommand(),
  },
  relay: {
    summary: 'route committed messages until it is stopped',
    load: async () => (await import('./relay.ts')).relayCommand(),
  },
  status: {
    summary: 'how queues, relay and partitions stand',
    load: async () => (await import('./status.ts')).statusCommand(),
  },
  publish: {
    summary: 'publish a message, or a file of them',
    load: async () => (await import('./publish.ts')).publishCommand(),
  },
  peek: {
    summary: 'look at the next deliveries of a queue',
    load: async () => (await import('./peek.ts')).peekCommand(),
  },
  queue: {
    summary: 'pause, resume, purge or delete a queue, or cancel a delivery',
    load: async () => (await import('./queue.ts')).queueCommand(),
  },
  stream: {
    summary: 'groups of a stream: lag, seek, replay, pause, and what is blocked',
    load: async () => (await import('./stream.ts')).streamCommand(),
  },
  tail: {
    summary: 'follow what is published, live',
    load: async () => (await import('./tail.ts')).tailCommand(),
  },
  verify: {
    summary: 'judge by the log what handlers of streams have written down',
    load: async () => (await import('./verify.ts')).verifyCommand(),
  },
  dead: {
    summary: 'list, show, redrive or purge dead letters',
    load: async () => (await import('./dead.ts')).deadCommand(),
  },
  effects: {
    summary: 'list, show or resolve calls to the outside',
    load: async () => (await import('./effects.ts')).effectsCommand(),
  },
  schedules: {
    summary: 'list or remove recurring messages',
    load: async () => (await import('./schedules.ts')).schedulesCommand(),
  },
  trace: {
    summary: 'what became of a message, and of what it caused',
    load: async () => (await import('./trace.ts')).traceCommand(),
  },
  erase: {
    summary: 'take the payload of a message away, wherever it stands',
    load: async () => (await import('./erase.ts')).eraseCommand(),
  },
  journal: {
    summary: 'who did what by hand',
    load: async () => (await import('./journal.ts')).journalCommand(),
  },
  audit: {
    summary: 'account for every message; fails when one is unaccounted for',
    load: async () => (await import('./audit.ts')).auditCommand(),
  },
  config: {
    summary: 'every setting, and who said so',
    load: async () => (await import('./config.ts')).configCommand(),
  },
  completion: {
    summary: 'print the completion script of bash, zsh or fish',
    load: async () => (await import('./completion.ts')).completionCommand(),
  },
  demo: {
    summary: 'watch it work: a shop under chaos, audited',
    load: async () => (await import('./demo.ts')).demoCommand(),
  },
}

const USAGE = 2

/** The hidden command that the shells' completion scripts call. */
const COMPLETE = '__complete'

// What a family of commands does when it is not told.
const FIRST: Readonly<Record<string, string>> = { topology: 'show', dead: 'list', effects: 'list', schedules: 'list' }

/** The command line. Exit codes: 0 ok, 1 failure, 2 usage, 3 database unreachable, 4 schema behind or missing, 130 interrupted. */
export async function program(args: readonly string[]): Promise<void> {
  surviveClosedPipes()
  process.on('uncaughtException', (error) => process.exit(report(error, args)))
  process.on('unhandledRejection', (error) => process.exit(report(error, args)))
  try {
    if (args[0] === COMPLETE) return await complete(args.slice(args[1] === '--' ? 2 : 1))
    const words = completed(args)
    const root = await rootFor(words[0] ?? '')
    await root.parseAsync([...words], { from: 'user' })
  } catch (error) {
    process.exitCode = args.length === 0 ? USAGE : report(error, args)
  }
}

/** The program with all of its commands loaded, as tests, documentation and completion look at it. */
export async function wholeProgram(): Promise<Shaped> {
  return await rootFor(...Object.keys(COMMANDS))
}

async function complete(words: readonly string[]): Promise<void> {
  const { candidates, printCandidates, storedNames } = await import('./completion.ts')
  const root = await rootFor(...(words[0] === undefined ? [] : [words[0]]))
  printCandidates(await candidates(root, words, storedNames))
}

async function rootFor(...loaded: readonly string[]): Promise<Shaped> {
  const root = command('posthaste')
    .description('A transactional outbox and a message queue in your Postgres.')
    .version(version(), '-V, --version', 'the version of posthaste')
    .helpCommand(false)
    .addHelpText(
      'after',
      `
Connection: --url, then DATABASE_URL, then PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE, then posthaste.config.ts.
Variables: POSTHASTE_CONFIG, POSTHASTE_SCHEMA, POSTHASTE_SERVICE, POSTHASTE_LISTEN_URL, POSTHASTE_HEALTH_PORT; \`posthaste config\` tells what is set.
Exit codes: 0 ok, 1 failure, 2 usage, 3 database unreachable, 4 schema behind or missing, 130 interrupted.
Output is plain where it is piped or NO_COLOR is set; failures tell their stack when POSTHASTE_DEBUG is set.

Example:
  $ posthaste migrate --url postgres://localhost/shop
  $ posthaste status --json`,
    )
  for (const [each, { summary, load }] of Object.entries(COMMANDS)) {
    root.addCommand(loaded.includes(each) ? (await load()).summary(summary) : command(each).summary(summary))
  }
  return root
}

/** What is run for words that leave something out: `dead` lists, `help x` is `x --help`. */
export function completed([first, second, ...rest]: readonly string[]): string[] {
  if (first === undefined) return ['--help']
  if (first === 'help') return completed([second, ...rest, '--help'].filter((word) => word !== undefined))
  const untold = second === undefined || (second.startsWith('-') && second !== '-h' && second !== '--help')
  const words = second === undefined ? [] : [second, ...rest]
  return FIRST[first] !== undefined && untold ? [first, FIRST[first], ...words] : [first, ...words]
}

function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}
