// node scripts/floors.mjs [directory]: an import goes down or stays; it never climbs. The floors are those of HOUSE.md, told in ARCHITECTURE.md.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..')

// The first pattern that fits decides; what none names is a noun.
const ROOMS = [
  [0, /^src\/(rules\/|errors\.ts$)/],
  [1, /^src\/(postgres|machinery)\//],
  [1, /^src\/(database|transport|events|transaction-handle)\.ts$/],
  [1, /^src\/(database|transport|transaction-handles)\//],
  ['side', /^src\/(databases|transports|telemetry|embedded)\//],
  [3, /^src\/(index|posthaste|testing)\.ts$/],
  [3, /^src\/(cli|dashboard|demo|testing)\//],
  [2, /^src\//],
]

const BROKERS =
  /^(amqplib|rabbitmq-client|@nats-io\/.*|nats|redis|ioredis|kafkajs|@platformatic\/kafka|@aws-sdk\/.*|@google-cloud\/.*|@azure\/.*|standardwebhooks)$/
const PURE = /^(zod|uuid|croner|@standard-schema\/spec|node:(crypto|util|buffer|assert))$/

// from: who imports; to: what may not be imported, a path inside the project or the name of a package.
const RULES = [
  {
    from: (file) => floorOf(file) === 0,
    to: (target, file) => !target.startsWith('src/') && !PURE.test(target) && !loadsZod(file, target),
    reason: 'rules are pure: they know zod and each other, no I/O, no driver',
  },
  {
    from: (file) => typeof floorOf(file) === 'number',
    to: (target, file) => typeof floorOf(target) === 'number' && floorOf(target) > floorOf(file),
    reason: 'an import goes down or stays; it never climbs',
  },
  {
    from: (file) => [0, 1, 2].includes(floorOf(file)),
    to: (target) => floorOf(target) === 'side',
    reason: 'nothing inside imports a side room: those are subpath exports with optional peers',
  },
  {
    from: (file) => floorOf(file) === 'side',
    to: (target, file) => {
      if (floorOf(target) === 'side') return sideRoomOf(target) !== sideRoomOf(file)
      return (
        target.startsWith('src/') &&
        floorOf(target) !== 0 &&
        !/^src\/((database|transport|events)\.ts$|(database|transport)\/)/.test(target)
      )
    },
    reason: 'a side room knows its port, floor 0 and one client library; not the inside, not another side room',
  },
  {
    from: (file) => /^src\/(cli|dashboard|demo)\//.test(file),
    to: (target) => target.startsWith('src/postgres/') || target.startsWith('src/machinery/'),
    reason: 'a door goes through the library as a user would: what the command line can do, the library can do',
  },
  {
    from: (file) => file.startsWith('src/machinery/'),
    to: (target) => target.startsWith('src/rules/') || target.startsWith('src/postgres/'),
    reason: 'machinery knows no messages',
  },
  {
    from: (file) => floorOf(file) === 2,
    to: (target) => BROKERS.test(target),
    reason: 'a noun knows no particular broker',
  },
  {
    from: (file) => floorOf(file) === 2,
    to: (target) => target === 'pg' || target === 'node-pg-migrate',
    reason: 'a noun speaks to Postgres through postgres/ and the port database.ts',
  },
  {
    from: (file) => file.startsWith('src/postgres/'),
    to: (target) => BROKERS.test(target),
    reason: 'postgres/ knows its own driver alone',
  },
  {
    from: (file) => file.startsWith('src/') && !file.startsWith('src/cli/'),
    to: (target) => /^(commander|@commander-js\/.*|cli-table3)$/.test(target),
    reason: 'only the command line speaks the command line’s languages',
  },
]

// What is no import and is still a thing that rules do not know.
const CLOCKS = /\b(Date\.now\(\)|new Date\(\)|performance\.now\(\)|setTimeout\(|setInterval\()/

const files = globSync('src/**/*.{ts,tsx}', { cwd: root })
  .map((file) => file.replaceAll('\\', '/'))
  .sort()
const offences = files.flatMap((file) => [...climbs(file), ...clocks(file)])
for (const { file, target, reason } of offences) console.error(`${file} → ${target}: ${reason}`)
process.exitCode = offences.length > 0 ? 1 : 0

// zod takes long to load, so it is not imported.
function loadsZod(file, target) {
  return file === 'src/rules/zod.ts' && target === 'node:module'
}

function climbs(file) {
  return importsOf(file).flatMap((target) =>
    RULES.filter(({ from, to }) => from(file) && to(target, file))
      .slice(0, 1)
      .map(({ reason }) => ({ file, target, reason })),
  )
}

function clocks(file) {
  const found = floorOf(file) === 0 ? CLOCKS.exec(code(file)) : null
  return found ? [{ file, target: found[1], reason: 'rules know no clock: time is an argument' }] : []
}

function floorOf(path) {
  return ROOMS.find(([, pattern]) => pattern.test(path))?.[0]
}

// embedded/ is one room; each adapter of a port is one of its own.
function sideRoomOf(path) {
  const [, folder, name = ''] = path.split('/')
  return folder === 'embedded' ? folder : `${folder}/${name.replace(/\.ts$/, '')}`
}

function importsOf(file) {
  const pattern =
    /(?:^|[\s;}])(?:import|export)\s(?:[^'"`;]*?\sfrom\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g
  return [...code(file).matchAll(pattern)].map((match) => targetOf(file, match[1] ?? match[2]))
}

function targetOf(file, specifier) {
  if (!specifier.startsWith('.')) return packageOf(specifier)
  const path = posix.join(posix.dirname(file), specifier)
  return existsSync(join(root, path)) ? relative(root, join(root, path)).replaceAll('\\', '/') : path
}

function packageOf(specifier) {
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function code(file) {
  return readFileSync(join(root, file), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '')
}
