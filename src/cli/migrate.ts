import { databaseCommand, told } from './command.ts'
import { BadNews, UsageFailure } from './failure.ts'
import { reach } from './open.ts'
import { print, printJson } from './output.ts'
import { Progress } from './progress.ts'
import { resolveTarget } from './target.ts'

const SCHEMA_BEHIND = 4

export function migrateCommand() {
  return databaseCommand('migrate')
    .description('Brings the schema to this release; twice, or from many machines at once, is as good as once.')
    .option('--check', 'change nothing; exit code 4 when something is pending')
    .option('--print', 'print the SQL of an empty database, for other migration tools')
    .addHelpText(
      'after',
      told({
        example: 'posthaste migrate --url postgres://localhost/shop',
        json: '{"version":1,"schema","ran":[…],"applied":[…],"pending":[…],"functionsCurrent"}',
      }),
    )
    .action(async (options) => {
      if (options.print) return await printScript(options)
      const resolved = await resolveTarget(options)
      const { pool } = await reach(resolved, 'posthaste migrate')
      await pool.end()
      const { migrate, migrationState } = await import('../index.ts')
      const where = { url: resolved.url, schema: resolved.schema }
      using _ = new Progress('migrate', { quiet: options.json ?? false })
      const state = options.check ? { ...(await migrationState(where)), ran: [] } : await migrate(where)
      const { schema, ran, applied, pending, functionsCurrent } = state
      if (options.json) printJson({ schema, ran, applied, pending, functionsCurrent })
      else print(options.check ? checked(state) : migrated(schema, ran))
      if (pending.length > 0 || !functionsCurrent) throw new BadNews('the schema is behind', SCHEMA_BEHIND)
    })
}

async function printScript(options: {
  readonly check?: true | undefined
  readonly json?: true | undefined
  readonly schema?: string | undefined
  readonly config?: string | undefined
}): Promise<void> {
  if (options.check || options.json) throw new UsageFailure('Cannot use --print with --check or --json')
  const { printMigrations } = await import('../index.ts')
  const { schema } = await resolveTarget(options)
  print((await printMigrations({ schema })).trimEnd())
}

function migrated(schema: string, ran: readonly string[]): string {
  if (ran.length === 0) return `Schema "${schema}" is up to date`
  return [`Schema "${schema}" is up to date; ran`, ...ran.map((name) => `  ${name}`)].join('\n')
}

interface Checked {
  readonly schema: string
  readonly pending: readonly string[]
  readonly functionsCurrent: boolean
}

function checked({ schema, pending, functionsCurrent }: Checked): string {
  if (pending.length === 0 && functionsCurrent) return `Schema "${schema}" is up to date`
  const behind = [...pending, ...(functionsCurrent ? [] : ['functions'])]
  return [`Schema "${schema}" is behind: run posthaste migrate`, ...behind.map((name) => `  ${name}`)].join('\n')
}
