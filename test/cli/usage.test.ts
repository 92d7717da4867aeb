import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, expect, test, vi } from 'vitest'
import { cli, spawnCli } from '../support/cli.ts'
import { everyCommand, shapeOf } from '../support/program.ts'

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 })

const COMMANDS = await everyCommand()
const DESTRUCTIVE = /(^| )(purge|drop|delete|remove|truncate|clear)$/

describe.each(COMMANDS)('posthaste $path', (leaf) => {
  const { path, command, help } = leaf

  test('says what it does, in sentences, and what each option is for', () => {
    expect(command.description()).toMatch(/^[A-Z`].*[.]$/s)
    for (const { flags, description } of command.options)
      expect({ flags, description }).toEqual({ flags, description: expect.stringMatching(/\w/) })
    for (const argument of command.registeredArguments) expect(argument.description).toMatch(/\w/)
  })

  test('has an example in --help, and the shape of its JSON with a version', () => {
    expect(help).toMatch(/^Usage: posthaste /)
    expect(help).toMatch(new RegExp(`Example:\\n {2}\\$ .*posthaste ${path}( |\\)|$)`, 'm'))
    const shape = shapeOf(leaf)
    expect(shape.kind === 'object' && [...shape.keys.keys()]).toContain('version')
    expect(command.options.map(({ long }) => long)).toContain('--json')
  })

  test('answers a misspelt option with the nearest', async () => {
    const refusal = await command.parseAsync(['--jsno'], { from: 'user' }).catch((error) => error)
    expect(refusal).toMatchObject({
      code: 'commander.unknownOption',
      message: expect.stringContaining('Did you mean --json?'),
    })
  })
})

test.each(COMMANDS.filter(({ path }) => DESTRUCTIVE.test(path)))(
  'posthaste $path destroys nothing before it is told yes',
  ({ command }) => {
    expect(command.options.map(({ long }) => long)).toContain('--yes')
  },
)

describe('--help', () => {
  test('of the program names every command, and the exit codes', async () => {
    const { code, stdout, stderr } = await cli(['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const { path } of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${path.split(' ')[0]} `, 'm'))
    expect(stdout).toContain('130 interrupted')
  })

  test('comes by "help <command>" too', async () => {
    expect((await cli(['help', 'dead', 'redrive'])).stdout).toContain('Usage: posthaste dead redrive')
  })
})

test('--version is the package’s', async () => {
  expect(await cli(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
})

test.concurrent.each([
  [['statsu'], `Unknown command 'statsu'\n(Did you mean status?)\nTry: posthaste --help\n`],
  [['dead', 'redrvie', '1'], `Unknown command 'redrvie'\n(Did you mean redrive?)\nTry: posthaste dead --help\n`],
  [['audit', '--jsno'], `Unknown option '--jsno'\n(Did you mean --json?)\nTry: posthaste audit --help\n`],
  [['peek'], `Missing required argument 'queue'\nTry: posthaste peek --help\n`],
  [
    ['demo', '--orders', 'many'],
    `Option '--orders <count>' argument 'many' is invalid. It is not a whole number from 1 to`,
  ],
  [['demo', '--inject', 'los'], `Allowed choices are loss, duplicate.`],
  [['audit', '--url', 'localhost:secret'], 'Cannot use --url: it does not begin with postgres://\n'],
  [['publish', '--payload', '{}'], 'Cannot publish: neither --type nor --routing-key is given\n'],
  [
    ['publish', '--type', 'x'],
    'Cannot publish: give the message with --payload or --payload-file, or many with --file\n',
  ],
  [['publish', '--type', 'x', '--payload', '4111111111111111,'], 'Cannot publish --payload: it is not JSON\n'],
  [['publish', '--type', 'x', '--payload', '[9007199254740993]'], 'it has a number that JavaScript would round'],
  [['publish', '--type', 'x', '--payload-file', '/nowhere'], 'Cannot read "/nowhere": ENOENT\n'],
  [['publish', '--type', 'x', '--payload', '1', '--skip-bad'], 'Cannot publish: --skip-bad is for a --file\n'],
  [
    ['publish', '--file', 'x', '--content-type', 'y'],
    'Cannot publish a --file with --content-type: its lines say that\n',
  ],
  [['queue', 'pause', 'billing', '--for', '0s'], 'It is not a time above 0; write 500ms, 30s, 10m, 2h or 1d.'],
  [['dead', 'redrive'], 'Cannot tell which dead letters: give ids, options that find them, or --all\n'],
  [['dead', 'redrive', '1', '--all'], 'Cannot take ids together with'],
  [['migrate', '--print', '--json'], '--print with --check or --json'],
  [['completion', 'tcsh'], 'Allowed choices are bash, zsh, fish.'],
])('%j is a mistake of usage: a sentence, no stack, exit code 2', async (args, sentence) => {
  const { code, stdout, stderr } = await cli(args)
  expect(stderr).toContain(sentence)
  expect(stderr).not.toContain('    at ')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
})

test('no command at all shows the help, and is no success', async () => {
  expect(await cli([])).toMatchObject({ code: 2, stdout: expect.stringContaining('Usage: posthaste') })
})

test('a mistake with --json is told as one JSON object', async () => {
  const { code, stderr } = await cli(['audit', '--json', '--schem', 'x'])
  expect(code).toBe(2)
  expect(JSON.parse(stderr)).toEqual({
    version: 1,
    error: { code: 'USAGE', message: "Unknown option '--schem'\n(Did you mean --schema?)" },
  })
})

test('output that nobody reads to the end is no failure', async () => {
  const child = spawnCli(['migrate', '--print'])
  child.stdout!.destroy()
  const [stderr, [code]] = await Promise.all([text(child.stderr!), once(child, 'close')])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})
