# Sourced by the scripts that need containers: finds podman or docker and its compose. Not a command.
#
#   find_engine           sets engine=(podman) or (docker); CONTAINER_ENGINE names one
#   find_compose          sets compose=(podman-compose) or (docker compose) besides
#   service_container     prints the id of the running service of production or development; fails if there is none
#
# podman's own image format would drop the health check.
export BUILDAH_FORMAT=docker

find_engine() {
  local candidate
  for candidate in ${CONTAINER_ENGINE:-podman docker}; do
    if command -v "$candidate" >/dev/null; then
      engine=("$candidate")
      return
    fi
  done
  echo "needs podman or docker; CONTAINER_ENGINE names another" >&2
  return 1
}

find_compose() {
  find_engine || return 1
  if [[ ${engine[0]} == podman ]] && command -v podman-compose >/dev/null; then
    compose=(podman-compose)
  elif "${engine[0]}" compose version >/dev/null 2>&1; then
    compose=("${engine[0]}" compose)
  else
    echo "${engine[0]} has no compose: install podman-compose, or Docker's compose plugin" >&2
    return 1
  fi
}

service_container() {
  local project found label
  for project in recsys recsys-dev; do
    for label in io.podman.compose com.docker.compose; do
      found=$("${engine[@]}" ps --quiet --filter "label=$label.project=${COMPOSE_PROJECT_NAME:-$project}" \
        --filter label=com.docker.compose.service=recsys)
      if [[ -n $found ]]; then
        head -n 1 <<<"$found"
        return
      fi
    done
  done
  echo "no service is running: ./scripts/dev starts one for development, README.md says how for production" >&2
  return 1
}
