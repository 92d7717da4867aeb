import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { cli } from '../support/cli.ts'
import { scratch } from '../support/process.ts'

vi.setConfig({ testTimeout: 120_000 })

const FILE = `export default {
  url: 'postgres://ada:sesame@file.example:1/shop?sslpassword=sesame', schema: 'of_file', service: 'of file', healthPort: 9000,
  retention: { outboxMs: 60000 }, listenUrl: 'postgres://bob:sesame@direct.example/shop',
}`

async function settings(args: readonly string[], env: NodeJS.ProcessEnv, cwd: string) {
  const { stdout, stderr } = await cli(['config', '--json', ...args], { env, cwd })
  expect(stderr).toBe('')
  expect(stdout).not.toMatch(/sesame/)
  const answer = JSON.parse(stdout)
  const at = (name: string) => {
    const { value, from } = answer.settings.find((each: { name: string }) => each.name === name)
    return [value, from]
  }
  return { at, unread: answer.unread }
}

test('posthaste config shows where each setting came from: option, variable, file, default', async () => {
  using home = scratch()
  writeFileSync(join(home.path, 'posthaste.config.ts'), FILE)
  const file = await settings([], {}, home.path)
  expect(file.at('url')).toEqual(['postgres://ada:•••@file.example:1/shop?sslpassword=•••', 'posthaste.config.ts'])
  expect(file.at('host')).toEqual(['file.example', 'posthaste.config.ts'])
  expect(file.at('schema')).toEqual(['of_file', 'posthaste.config.ts'])
  expect(file.at('healthPort')).toEqual([9000, 'posthaste.config.ts'])
  expect(file.at('retention.outboxMs')).toEqual([60000, 'posthaste.config.ts'])
  expect(file.at('relay.chunk')).toEqual([null, 'default'])

  const variables = {
    PGHOST: 'env.example',
    PGPASSWORD: 'sesame',
    POSTHASTE_SCHEMA: 'of_env',
    POSTHASTE_SERVICE: 'of env',
    POSTHASTE_HEALTH_PORT: '9001',
    POSTHASTE_LISTEN_URL: 'postgres://carol:sesame@env.example/shop',
    POSTHASTE_SHEMA: 'typo',
  }
  const env = await settings([], variables, home.path)
  expect(env.at('host')).toEqual(['env.example', 'PGHOST'])
  expect(env.at('password')).toEqual(['•••', 'PGPASSWORD'])
  expect(env.at('schema')).toEqual(['of_env', 'POSTHASTE_SCHEMA'])
  expect(env.at('service')).toEqual(['of env', 'POSTHASTE_SERVICE'])
  expect(env.at('healthPort')).toEqual([9001, 'POSTHASTE_HEALTH_PORT'])
  expect(env.at('listenUrl')).toEqual(['postgres://carol:•••@env.example/shop', 'POSTHASTE_LISTEN_URL'])
  expect(env.unread).toEqual(['POSTHASTE_SHEMA'])

  const options = await settings(
    ['--schema', 'of_option', '--url', 'postgres://dan:sesame@option.example/shop'],
    variables,
    home.path,
  )
  expect(options.at('schema')).toEqual(['of_option', '--schema'])
  expect(options.at('host')).toEqual(['option.example', '--url'])
  expect(options.at('user')).toEqual(['dan', '--url'])
})

test('people are told of variables that nobody reads', async () => {
  const { code, stdout } = await cli(['config'], { env: { POSTHASTE_SHEMA: 'x' } })
  expect(code).toBe(0)
  expect(stdout).toContain('POSTHASTE_SHEMA; did you mean "POSTHASTE_SCHEMA"?')
})

test('a configuration file may be named by a variable', async () => {
  using home = scratch()
  const file = join(home.path, 'elsewhere.ts')
  writeFileSync(file, FILE)
  const { at } = await settings([], { POSTHASTE_CONFIG: file }, '/')
  expect(at('config')).toEqual([file, 'POSTHASTE_CONFIG'])
  expect(at('schema')).toEqual(['of_file', file])
})
