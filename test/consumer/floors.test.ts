import { expect, test } from 'vitest'
import { Floors } from '../../src/consumer/floors.ts'

const row = (priority: number, position: string) => ({ priority, position })

test('a floor lies above the last claimed position of its priority, and never falls by claiming', () => {
  const floors = new Floors()
  expect(floors.positions).toEqual(Array(10).fill('0'))
  floors.advance([row(9, '5'), row(9, '12'), row(9, '7'), row(2, '9223372036854775806')])
  expect(floors.positions[9]).toBe('13')
  expect(floors.positions[2]).toBe('9223372036854775807')
  floors.advance([row(9, '8')])
  expect(floors.positions[9]).toBe('13')
})

test('it falls to the ground when rows may have come back', () => {
  const floors = new Floors()
  floors.advance([row(9, '12')])
  floors.fall()
  expect(floors.onTheGround).toBe(true)
})
