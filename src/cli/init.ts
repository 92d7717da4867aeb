import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { command, told } from './command.ts'
import { Failure, UsageFailure } from './failure.ts'
import { print, printJson } from './output.ts'

export function initCommand() {
  return command('init')
    .description(
      'Writes a configuration, a contract, a producer and a consumer that run as they are. Overwrites nothing: all files are written, or none.',
    )
    .argument('[directory]', 'where to', '.')
    .option('--service <name>', 'the name of the service (default: that of the directory)')
    .option('--json', 'answer in JSON')
    .addHelpText('after', told({ example: 'posthaste init shop', json: '{"version":1,"directory","written":[…]}' }))
    .action((directory, { service, json }) => {
      const path = resolve(directory)
      const written = write(path, filesOf(service ?? nameFrom(path)))
      if (json) return printJson({ directory: path, written })
      print(['Written', ...written.map((file) => `  ${join(directory, file)}`), '', ...NEXT].join('\n'))
    })
}

const NEXT = [
  'Next',
  '  npm install posthaste pg zod',
  '  export DATABASE_URL=postgres://…',
  '  npx posthaste migrate',
  '  node consumer.ts                # in one terminal',
  '  node producer.ts                # in another',
]

type Files = Readonly<Record<string, string>>

// Written in one go: a signal is answered before or after it, not in the middle.
function write(directory: string, files: Files): string[] {
  const wanted = Object.entries(files).filter(([name]) => name !== 'package.json' || !existsSync(join(directory, name)))
  const there = wanted.map(([name]) => name).filter((name) => existsSync(join(directory, name)))
  if (there.length > 0) {
    throw new UsageFailure(
      `Cannot write to "${directory}": ${there.join(', ')} ${there.length > 1 ? 'are' : 'is'} there already`,
    )
  }
  const deaf = () => {}
  process.on('SIGINT', deaf).on('SIGTERM', deaf)
  const written: string[] = []
  try {
    mkdirSync(directory, { recursive: true })
    for (const [name, text] of wanted) {
      writeFileSync(join(directory, name), text, { flag: 'wx' })
      written.push(name)
    }
    return written
  } catch (error) {
    for (const name of written) rmSync(join(directory, name), { force: true })
    const { code, message } = error as NodeJS.ErrnoException
    throw new Failure(`Cannot write to "${directory}": ${code ?? message}`, { cause: error })
  } finally {
    process.off('SIGINT', deaf).off('SIGTERM', deaf)
  }
}

function nameFrom(path: string): string {
  return (
    basename(path)
      .toLowerCase()
      .replaceAll(/[^a-z0-9-]+/g, '-')
      .replaceAll(/^-+|-+$/g, '') || 'shop'
  )
}

function filesOf(service: string): Files {
  return {
    'package.json': `${JSON.stringify({ name: service, private: true, type: 'module' }, null, 2)}\n`,
    'posthaste.config.ts': `import { defineConfig } from 'posthaste'
import { topology } from './messages.ts'

// For the command line: DATABASE_URL says which database, this says what is in it.
export default defineConfig({ service: ${literal(service)}, topology })
`,
    'messages.ts': `import { defineMessage, defineTopology } from 'posthaste'
import { z } from 'zod'

// A contract is a value that producers and consumers import. Any Standard Schema library will do for its schema.
export const OrderPlaced = defineMessage('order.placed', z.object({ orderId: z.string(), cents: z.int() }), {
  exchange: 'orders',
  key: (order) => order.orderId,
})

// Which queue gets what. Declared when a service starts; it adds, and removes nothing.
export const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: { billing: { from: [OrderPlaced], retry: { maxAttempts: 8 } } },
})
`,
    'producer.ts': `import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { Posthaste, pgDatabase } from 'posthaste'
import { OrderPlaced, topology } from './messages.ts'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
const posthaste = new Posthaste({ database: pgDatabase(pool), topology, service: ${literal(service)} })
await posthaste.declare()
await pool.query('create table if not exists orders (id text primary key, cents int not null)')

const orderId = randomUUID()
const client = await pool.connect()
try {
  await client.query('begin')
  await client.query('insert into orders (id, cents) values ($1, $2)', [orderId, 1999])
  await posthaste.publish(client, OrderPlaced.create({ orderId, cents: 1999 }))
  await client.query('commit') // the order and its message: both, or neither
  console.log(\`placed order \${orderId}\`)
} catch (error) {
  await client.query('rollback')
  throw error
} finally {
  client.release()
}
await pool.end()
`,
    'consumer.ts': `import pg from 'pg'
import { Posthaste, pgDatabase } from 'posthaste'
import { OrderPlaced, topology } from './messages.ts'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 15 })
await pool.query('create table if not exists charges (order_id text primary key, cents int not null)')

const posthaste = new Posthaste({ database: pgDatabase(pool), topology, service: ${literal(service)} })
posthaste.consumer('billing', { concurrency: 10 }).on(OrderPlaced, async ({ payload }, { tx }) => {
  // What is written with tx is committed once, together with the end of the delivery, or not at all.
  await tx.query('insert into charges (order_id, cents) values ($1, $2)', [payload.orderId, payload.cents])
})
posthaste.on('completed', ({ messageId }) => console.log(\`completed \${messageId}\`))
posthaste.on('dead-lettered', ({ messageId, reason }) => console.error(\`dead \${messageId}: \${reason}\`))
posthaste.on('error', ({ where, error }) => console.error(\`\${where}: \${error.message}\`))

await posthaste.start() // the relay too; run \`posthaste relay\` elsewhere and start({ relay: false }) to keep them apart
console.log('consuming; Ctrl-C stops')

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    await posthaste.stop() // handlers under way finish, nothing new is begun
    await pool.end()
  })
}
`,
  }
}

function literal(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
