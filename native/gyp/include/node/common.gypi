# Takes the place of Node's own common.gypi, so that node-gyp has no headers to download: the
# addon includes nothing but Node-API, whose headers are in the package node-api-headers.
{
  'target_defaults': {
    'default_configuration': 'Release',
    'configurations': {
      'Debug': { 'cflags': ['-g', '-O0'] },
      'Release': { 'cflags': ['-O3'], 'defines': ['NDEBUG'] },
    },
  },
}
