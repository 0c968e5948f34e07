# The build of those who install the package. native/CMakeLists.txt is the developers' build of the same sources.
{
  'targets': [
    {
      'target_name': 'nfq_cluster',
      'sources': ["<!@(sed -n 's|^[a-z].*|native/&|p' native/sources.txt)"],
      'include_dirs': ['native'],
      'defines': [
        'NAPI_VERSION=9',
        'NODE_ADDON_API_CPP_EXCEPTIONS',
        # Without it, a lack of memory aborts the process.
        'NODE_ADDON_API_CPP_EXCEPTIONS_ALL',
        # Without it, a worker thread terminated while an engine opens or closes aborts the process.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'variables': {
        # Relative to build/, where make runs.
        'include': "require('path').relative('build', require('node-addon-api').include_dir) + ' -isystem ' + require('path').relative('build', require('node-api-headers').include_dir)",
      },
      'cflags_cc': [
        '-std=c++20',
        '-Wall',
        '-Wextra',
        '-Wpedantic',
        '-Wconversion',
        '-Wshadow',
        '-fvisibility=hidden',
        '-pthread',
        '-isystem <!(node -p "<(include)")',
        '<!@(pkg-config --cflags libnetfilter_queue libmnl)',
      ],
      'ldflags': ['-pthread'],
      'libraries': ['<!@(pkg-config --libs libnetfilter_queue libmnl)'],
    },
  ],
}
